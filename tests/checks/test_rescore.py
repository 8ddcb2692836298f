"""Stored examples are looked at again by code of its own, and each kind of lie is found."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from zsr.checks.rescore_examples import distances, margins, rescore_cell
from zsr.evaluation import cell as evaluate
from zsr.plan import fingerprint
from zsr.storage.examples import Examples, pixels

EPS = 0.03
SPEC = {"device": "cpu", "images": 50, "seed": 0, "attack": "pgd", "norm": "linf", "batch": 32, "verdict": "any",
        "kernels": "auto", "precision": "fp32", "settings": {"steps": 5}, "store": "examples"}  # fmt: skip


@pytest.fixture(scope="module")
def world():
    torch.manual_seed(1)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 5)).eval()
    images = np.random.default_rng(0).integers(0, 256, (60, 3, 8, 8), dtype=np.uint8)

    @torch.no_grad()
    def look(x):
        return net((torch.from_numpy(x) - 0.5) / 0.25).numpy()

    labels = look(pixels(images)).argmax(1).astype(np.int64)
    labels[::9] = (labels[::9] + 1) % 5
    cell = evaluate.evaluate(net, (0.5,) * 3, (0.25,) * 3, images, labels, SPEC, EPS)
    rows, stored = evaluate.columns(cell), Examples(*evaluate.kept(cell, SPEC))
    assert 10 < len(stored.index) < 45
    return rows, stored, images, labels, look


def check(world, spec=SPEC, rows=None, stored=None, eps=EPS, look=None):
    own, kept, images, labels, see = world
    rows = own if rows is None else rows
    stored, clean = stored or kept, see(pixels(images[rows["index"]]))
    parts = [Examples(stored.index[at : at + 7], stored.x_adv[at : at + 7]) for at in range(0, len(stored.index), 7)]
    return rescore_cell(rows, stored.index, parts, images, labels, spec, eps, look or see, clean)


def test_the_truth_is_confirmed(world):
    found = check(world)
    assert found.faults == []
    assert found.confirmed + found.close >= len(world[1].index)
    assert found.clean + found.close >= 50
    assert found.close < 5


def spoilt(world, change):
    x_adv = world[1].x_adv.copy()
    change(x_adv)
    return check(world, stored=Examples(world[1].index, x_adv)).faults


def test_lies_about_examples_are_found(world):
    _, stored, images, _, _ = world
    clean = pixels(images[stored.index])

    def back(x):
        x[3] = clean[3]

    def out(x):
        x[2, 0, 0, 0] = clean[2, 0, 0, 0] + EPS + 2e-6

    def below(x):
        x[1, 0, 0, 0] = -1e-7

    name = [f"the example of image {place}" for place in stored.index]
    assert any(line.startswith(f"{name[3]} fools nobody") for line in spoilt(world, back))
    assert any(line.startswith(f"{name[3]} is not the one") for line in spoilt(world, back))
    assert any(line.startswith(f"{name[2]} lies outside") for line in spoilt(world, out))
    assert any(line.startswith(f"{name[1]} lies outside") for line in spoilt(world, below))
    nan = spoilt(world, lambda x: x.fill(np.nan))
    assert sum("outside" in line for line in nan) == sum("fools nobody" in line for line in nan) == len(stored.index)
    assert any("lies outside" in line for line in check(world, eps=EPS / 2).faults)


@pytest.mark.parametrize("store", ["none", "examples", 3])
def test_too_few_and_too_many_examples_are_found(world, store):
    fewer = Examples(world[1].index[:2], world[1].x_adv[:2])
    (line,) = check(world, SPEC | {"store": store}, stored=fewer).faults
    assert line.startswith("2 examples are stored where") and line.endswith(f"store: {store}")


def test_a_cell_without_examples_is_checked_by_its_clean_predictions(world):
    none = Examples(world[1].index[:0], world[1].x_adv[:0])
    found = check(world, SPEC | {"store": "none"}, stored=none)
    assert (found.faults, found.confirmed) == ([], 0)
    assert found.clean > 45


def test_an_example_of_an_image_that_stands_is_found(world):
    rows, stored, *_ = world
    index = stored.index.copy()
    index[0] = rows["index"][rows["robust"]][0]
    assert "are stored where" in check(world, stored=Examples(index, stored.x_adv)).faults[0]


def test_lies_in_rows_are_found(world):
    rows = copy.deepcopy(world[0])
    rows["clean"][5] = (rows["clean"][5] + 1) % 5
    lines = check(world, rows=rows).faults
    assert any(line.startswith(f"image {rows['index'][5]} is predicted as class") for line in lines)
    rows = copy.deepcopy(world[0])
    rows["robust"][np.flatnonzero(rows["step"] == 0)[0]] = True
    lines = check(world, rows=rows).faults
    assert any("their clean prediction is wrong" in line for line in lines)
    assert any("as robust and as fooled at once" in line for line in lines)
    rows = copy.deepcopy(world[0])
    rows["label"][0] += 1
    assert check(world, rows=rows).faults == ["its rows have other labels than the dataset"]


def test_narrow_margins_are_counted_apart_and_wide_ones_fail(world):
    flat = check(world, look=lambda x: np.zeros((len(x), 5), np.float32))
    assert (flat.faults, flat.confirmed) == ([], 0)
    assert flat.close >= len(world[1].index)
    right = check(world, look=lambda x: np.full((len(x), 5), np.nan, np.float32))
    assert sum("fools nobody" in line for line in right.faults) == len(world[1].index)


@pytest.mark.parametrize(("norm", "order"), [("linf", np.inf), ("l2", 2), ("l1", 1)])
def test_distances_and_margins_are_numpy_s(norm, order):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 3, 4, 4), dtype=np.uint8)
    x_adv = rng.random((6, 3, 4, 4), np.float32)
    wanted = [np.linalg.norm((x - i / 255).ravel(), order) for x, i in zip(x_adv.astype(float), images, strict=True)]
    assert distances(x_adv, images, norm) == pytest.approx(wanted, rel=1e-5)
    logits, label = rng.random((6, 4)), rng.integers(0, 4, 6)
    wanted = [z[y] - max(np.delete(z, y)) for z, y in zip(logits, label, strict=True)]
    assert margins(logits, label) == pytest.approx(wanted)


def test_nothing_of_the_attack_is_shared():
    files = fingerprint.fingerprint(["zsr/checks/rescore_examples.py", "zsr/checks/recount_tables.py"]).files
    assert "zsr/models/backbone.py" in files
    assert not [path for path in files if path.startswith(("zsr/attacks", "zsr_kernels", "zsr/report"))]
