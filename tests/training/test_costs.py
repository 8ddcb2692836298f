"""The cost of a training: passes are counted right for each kind of method and tower, and the report shows them."""

import re
import weakref
from html import unescape
from types import SimpleNamespace

import pytest
import torch
from support import synthetic
from support.method_setting import fit, make_source, make_task, norm_tower, plain_tower
from torch import nn

from zsr import registry
from zsr.methods.core.task import Task
from zsr.models.backbone import build
from zsr.models.word_tokenizer import vocabulary
from zsr.report.page import costs
from zsr.report.tables.build import build_tables
from zsr.training import fine_tune
from zsr.training.checkpoint import Checkpoint
from zsr.training.pass_counter import Passes
from zsr.training.recipe import Recipe

torch.set_num_threads(1)

ARCH = {
    "embed_dim": 6, "logit_scale": 14.3, "mean": (0.5,) * 3, "std": (0.2,) * 3, "tokenizer": "words",
    "vision_cfg": {"image_size": 16, "layers": 2, "width": 16, "head_width": 8, "patch_size": 4},
    "text_cfg": {"context_length": 8, "vocab_size": len(vocabulary()), "width": 16, "heads": 2, "layers": 1},
}  # fmt: skip

# what the formulas of the papers need with K = 2 steps: student forward, student backward, forward of the original
PASSES = {
    ("ce", norm_tower): (1, 1, 0),
    ("tecoa", norm_tower): (3, 3, 0),
    ("pmg-aft", norm_tower): (4, 4, 1),
    ("caw", plain_tower): (3, 3, 2),
    ("fare", norm_tower): (3, 3, 1),
    ("trades", plain_tower): (4, 4, 0),  # the clean forward serves attack and loss
    ("trades", norm_tower): (5, 4, 0),  # BatchNorm: not so
    ("tga-zsr", None): (4, 4, 1),
    ("vp-token", None): (3, 3, 0),
}


def cost(tmp_path, name, tower, steps: int = 2, epochs: int = 1) -> dict:
    """What the loop says of a short training."""
    if tower is None:
        backbone = build(ARCH)
        head = torch.nn.functional.normalize(torch.randn(4, 6), dim=1)
        task = Task(backbone.visual, (0.5,) * 3, (0.2,) * 3, head, 14.3, 4 / 255, steps, 1.0, seed=0)
        source = make_source(side=16)
    else:
        task, source = make_task(tower, moved=False, steps=steps), make_source()
    checkpoint = Checkpoint(tmp_path / "last.ckpt", "spec")
    recipe = Recipe(epochs=epochs, batch=8, lr=1e-3, warmup=1)
    method = registry.load("methods", name)()
    return fine_tune.fine_tune(method, task, source, recipe, device="cpu", checkpoint=checkpoint, log=lambda row: None)


@pytest.mark.parametrize(("name", "tower"), PASSES)
def test_passes_are_those_of_the_formula(name, tower, tmp_path):
    counted = cost(tmp_path, name, tower)["passes_per_image"]
    assert tuple(counted.values()) == PASSES[name, tower]


def test_a_longer_attack_costs_what_its_steps_cost(tmp_path):
    assert cost(tmp_path, "tecoa", norm_tower, steps=5)["passes_per_image"] == {
        "forward": 6, "backward": 6, "original": 0,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["fare", "simclip", "tima", "ucat", "caw", "agft", "tecoa-pseudo"])
def test_features_of_the_original_are_made_once(name, tmp_path, monkeypatch):
    """Clean images are not augmented: what the frozen original says of them is remembered, to the bit."""
    method = registry.load("methods", name)()
    kept = fit(tmp_path, method, make_task(norm_tower, moved=False), epochs=4)
    monkeypatch.setattr("zsr.methods.core.task.CACHE_BYTES", 0)
    made = fit(tmp_path, method, make_task(norm_tower, moved=False), epochs=4)
    assert kept.source_set is not None
    assert made.source_set is None
    assert torch.equal(kept.cached_features, made.frozen_features_of(kept.source_set.images))
    for key, value in kept.visual.state_dict().items():
        assert torch.equal(value, made.visual.state_dict()[key]), key


def test_memory_saves_the_passes_that_it_should(tmp_path):
    assert cost(tmp_path, "fare", norm_tower, epochs=4)["passes_per_image"]["original"] == 0.25
    assert cost(tmp_path, "caw", norm_tower, epochs=4)["passes_per_image"]["original"] == 1.25
    assert cost(tmp_path, "pmg-aft", norm_tower, epochs=4)["passes_per_image"]["original"] == 1


def test_counting_leaves_nothing_behind_and_changes_no_bit(tmp_path, monkeypatch):
    method = registry.load("methods", "caw")()
    counted = fit(tmp_path, method, make_task(moved=False)).visual
    assert not any(m._forward_hooks for m in counted.modules())

    class Silent:
        def __init__(self, task):
            pass

        def per_image(self, images):
            return {}

    monkeypatch.setattr(fine_tune, "Passes", Silent)
    plain = fit(tmp_path, method, make_task(moved=False)).visual
    assert all(torch.equal(a, b) for a, b in zip(counted.state_dict().values(), plain.state_dict().values()))  # noqa: B905


def test_the_report_shows_them():
    results = synthetic.make(seeds=(0, 1))
    built = build_tables(results.cells, results.rows, results.models)
    page = costs.html(built["training"])
    rows = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall(r"<tr>(.*?)</tr>", page)]
    assert [unescape(item) for item in rows[0]][:4] == ["backbone", "model", "s", "ms per step"]
    assert [row[1] for row in rows[1:]] == ["tecoa", "pmg-aft"]
    assert rows[1][2:] == ["47", "100", "900", "191", "3", "3", "0"]
    assert costs.html(built["training"].query("model == 'clip'")) == ""


def test_counting_lets_each_steps_graph_go():
    """The output of a forward dies with its last name: no hook holds it."""
    tower = nn.Sequential(nn.Linear(3, 3))
    passes = Passes(SimpleNamespace(tower=tower, teacher=None))
    kept = []
    tower[0].register_forward_hook(lambda module, inputs, output: kept.append(weakref.ref(output)))
    x = torch.ones(2, 3)
    tower(x).sum().backward()
    assert passes.per_image(2) == {"forward": 1, "backward": 1, "original": 0}
    assert kept[0]() is None
