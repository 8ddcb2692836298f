"""What the README shows is tried: its config is planned, its method trains."""

import re
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from support.project import ROOT

from zsr.methods.core.task import Task
from zsr.plan.plan import Plan
from zsr.training.checkpoint import Checkpoint
from zsr.training.fine_tune import SourceSet, fine_tune
from zsr.training.recipe import Recipe

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


def test_the_config_is_complete():
    text = next(block for kind, block in BLOCKS if kind == "yaml" and "protocols:" in block)
    plan = Plan(yaml.safe_load(text))
    assert len(plan.cells) == 5 * 3 * 1 * 2


def test_the_dataset_is_planned():
    config = yaml.safe_load(next(block for kind, block in BLOCKS if kind == "yaml" and "protocols:" in block))
    config |= yaml.safe_load(next(block for kind, block in BLOCKS if kind == "yaml" and "pale-digits" in block))
    config["protocols"][0]["datasets"].append("pale-digits")
    pale = [job for job in Plan(config).jobs.values() if job.wildcards.get("dataset") == "pale-digits"]
    assert {job.rule for job in pale} == {"prepare", "heads", "evaluate"}


def test_the_method_trains(tmp_path, monkeypatch):
    code = next(block for kind, block in BLOCKS if kind == "python" and "class Smooth" in block)
    path = tmp_path / "smooth_of_readme.py"
    path.write_text(
        "from dataclasses import dataclass\nimport torch.nn.functional as F\nfrom torch import Tensor\n"
        "from zsr.methods.core.adversarial import AdversarialMethod\nfrom zsr.methods.core.task import Batch, Task\n"
        + code,
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    method = __import__("smooth_of_readme").Smooth(smoothing=0.2)
    torch.manual_seed(0)
    visual = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 4))
    before = visual[1].weight.detach().clone()
    task = Task(visual, (0.5,) * 3, (0.2,) * 3, F.normalize(torch.randn(3, 4), dim=1), 10.0, 4 / 255, 2, 1.0, seed=0)
    rng = np.random.default_rng(0)
    source = SourceSet(rng.integers(0, 256, (8, 3, 4, 4), dtype=np.uint8), rng.integers(0, 3, 8))
    recipe = Recipe(epochs=1, batch=4, lr=0.1)
    checkpoint = Checkpoint(tmp_path / "last.ckpt", "spec")
    fine_tune(method, task, source, recipe, device="cpu", checkpoint=checkpoint, log=lambda row: None)
    assert not torch.equal(before, visual[1].weight)
    del sys.modules["smooth_of_readme"]


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists()


ATTACKS = [
    block
    for name in ("README.md", "docs/attacks.md")
    for block in re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    if "from zsr.attacks import" in block
]


@pytest.mark.parametrize("code", ATTACKS, ids=lambda code: code.splitlines()[0].rpartition(" ")[2])
def test_the_attacks_run_as_they_are_shown(code):
    """On a model of somebody else: what the text leaves open is here."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 10))
    x = torch.rand(6, 3, 4, 4)
    scope = {
        "net": net, "model": net, "visual": net, "head": torch.nn.Linear(10, 10), "x": x, "y": net(x).argmax(1), "F": F,
        "mean": torch.full((3,), 0.5), "std": torch.full((3,), 0.2), "index": torch.arange(6), "seed": 0, "step": 3,
    }  # fmt: skip
    exec(code, scope)
    made = scope["out"].x if "out" in scope else scope["x_adv"] if "x_adv" in scope else scope["verdicts"].x_adv
    assert made.shape == x.shape and 0 < float((made - x).abs().amax()) <= 8 / 255 + 1e-6


def test_all_shown_attacks_are_tried():
    assert len(ATTACKS) == 4
