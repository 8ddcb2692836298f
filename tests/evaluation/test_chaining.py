"""A chained run gives the verdicts of the union of unchained ones, and spends less."""

import types

import numpy as np
import pytest
import torch
from torch import nn

from zsr.evaluation import cell as evaluate
from zsr.evaluation import chaining
from zsr.hashing import file_digest
from zsr.storage import examples
from zsr.storage.rows import read_rows, write_rows

EPS = {"small": 0.02, "large": 0.05}


@pytest.fixture(scope="module")
def world():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 32), nn.ReLU(), nn.Linear(32, 5)).eval()
    images = np.random.default_rng(0).integers(0, 256, (120, 3, 8, 8), dtype=np.uint8)
    with torch.no_grad():
        labels = net((torch.from_numpy(images).float() / 255 - 0.5) / 0.25).argmax(1).numpy()
    labels[::7] = (labels[::7] + 1) % 5  # some are wrong to begin with
    return net, images, labels


def spec(attack="pgd", **more):
    settings = {"steps": 3} if attack == "pgd" else {"steps": 6, "kappa": 0.0}
    base = {"device": "cpu", "images": 90, "seed": 0, "attack": attack, "norm": "linf", "batch": 32, "verdict": "any",
            "kernels": "auto", "precision": "fp32", "settings": settings, "store": "examples", "needs": {}}  # fmt: skip
    return base | more


def run(world, given, eps, folder, name, upstream=()):
    """A cell and its files, as the evaluate script makes them; `upstream`: (role, name of the cell followed)."""
    paths = {role: folder / f"{other}.json" for role, other in upstream}
    job = types.SimpleNamespace(
        spec=given | {"needs": dict.fromkeys(paths, "x"), "follows": {role: other for role, other in upstream}},
        input=paths.__getitem__,
        record=lambda role: {"digests": {"rows": file_digest(paths[role].with_suffix(".parquet"))}},
    )
    fooled = chaining.fooled_before(job, evaluate.indices(len(world[2]), given))
    cell = evaluate.evaluate(world[0], (0.5,) * 3, (0.25,) * 3, *world[1:], given, eps, fooled["index"])
    columns = chaining.merge(evaluate.columns(cell), fooled)
    write_rows(folder / f"{name}.parquet", columns)
    return columns, cell


def test_a_chain_is_the_union(world, tmp_path):
    alone = {
        (attack, size): run(world, spec(attack), EPS[size], tmp_path, f"{attack}-{size}")[0]
        for attack in ("pgd", "cw")
        for size in EPS
    }
    first, _ = run(world, spec(), EPS["small"], tmp_path, "a")
    second, _ = run(world, spec("cw"), EPS["small"], tmp_path, "b", [("before", "a")])
    third, _ = run(world, spec(), EPS["large"], tmp_path, "c", [("smaller", "a")])
    last, cell = run(world, spec("cw"), EPS["large"], tmp_path, "d", [("before", "c"), ("smaller", "b")])
    for columns, members in (
        (first, [("pgd", "small")]),
        (second, [("pgd", "small"), ("cw", "small")]),
        (third, [("pgd", "small"), ("pgd", "large")]),
        (last, list(alone)),
    ):
        robust = np.logical_and.reduce([alone[m]["robust"] for m in members])
        assert np.array_equal(columns["robust"], robust)
        assert np.array_equal(columns["index"], alone["pgd", "small"]["index"])
        assert np.array_equal(columns["clean"], alone["pgd", "small"]["clean"])
    counts = [int(columns["robust"].sum()) for columns in (first, second, third, last)]
    assert counts[0] > counts[1] > counts[3] > 0, "the world is too easy or too hard to tell"
    assert {"", "a", "c"} <= set(last["fooled_in"]) <= {"", "a", "b", "c"}  # if two fooled it, `before` is copied
    assert {"", "a"} == set(second["fooled_in"])
    assert (last["fooled_in"][last["robust"]] == "").all()
    assert (last["step"][last["clean"] != last["label"]] == 0).all()
    assert len(cell.index) == (second["robust"] & third["robust"]).sum()


def test_passes_are_saved_and_examples_are_the_cell_s_own(world, tmp_path):
    first, before = run(world, spec(), EPS["large"], tmp_path, "a")
    _, whole = run(world, spec("cw"), EPS["large"], tmp_path, "alone")
    last, cell = run(world, spec("cw"), EPS["large"], tmp_path, "b", [("before", "a")])
    assert len(cell.index) == first["robust"].sum()
    spent = [c.verdicts.passes.forward + c.verdicts.passes.backward for c in (cell, whole)]
    assert spent[0] < spent[1]
    places, x_adv = evaluate.kept(cell, spec("cw"))
    own = last["index"][(last["step"] > 0) & (last["fooled_in"] == "")]
    assert np.array_equal(places, own) and len(own)
    examples.write_examples(tmp_path / "x", places, world[1], x_adv, radius=EPS["large"])
    again = examples.read_examples(tmp_path / "x", world[1]).x_adv
    assert np.array_equal(again.view(np.int32), x_adv.view(np.int32))
    few, _ = evaluate.kept(before, spec(store=3))
    assert len(few) == 3 and np.isin(few, first["index"][first["step"] > 0]).all()
    assert len(evaluate.kept(before, spec(store="none"))[0]) == 0


def test_nothing_left_to_attack(world, tmp_path):
    columns, _ = run(world, spec(), 0.9, tmp_path, "a")
    assert not columns["robust"].any()
    last, cell = run(world, spec("cw"), 0.9, tmp_path, "b", [("before", "a")])
    assert len(cell.index) == 0 and cell.verdicts.passes.forward == 0
    assert np.array_equal(last["index"], columns["index"]) and not last["robust"].any()
    table = read_rows(tmp_path / "b.parquet", file_digest(tmp_path / "b.parquet"))
    assert set(table["fooled_in"].to_pylist()) == {"", "a"}
