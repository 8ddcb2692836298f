"""Every method of config/real.yaml fine-tunes a dual encoder."""

import math

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from support.dual_encoder import joined
from support.project import ROOT

from zsr import registry
from zsr.evaluation.class_embeddings import class_embeddings
from zsr.hashing import file_digest
from zsr.methods.core.task import Task
from zsr.models.backbone import load_model, save_tensors
from zsr.training.checkpoint import Checkpoint
from zsr.training.fine_tune import SourceSet, fine_tune, trained_tensors
from zsr.training.recipe import Recipe


def rows_of_real() -> list[dict]:
    """The models of config/real.yaml that train."""
    config = yaml.safe_load((ROOT / "config/real.yaml").read_text(encoding="utf-8"))
    return [entry for entry in config["models"] if "method" in entry and entry["method"] != "clip"]


@pytest.mark.parametrize("row", rows_of_real(), ids=lambda row: row["name"])
def test_every_method_of_the_real_config_trains_it_and_is_opened_again(files, tmp_path, row):
    made, definition = joined(files)
    path = tmp_path / "weights.safetensors"
    save_file(save_tensors(made), path)
    record = {"definition": definition, "digests": {"weights": file_digest(path)}}
    classes = ["red cat", "green cat", "blue dog"]
    head = class_embeddings(made, classes, ["a photo of a {}"])
    method = registry.load("methods", row["method"])(**row.get("settings", {}))
    taught = {"teacher": joined(files)[0].visual, "teacher_head": head} if method.needs_teacher else {}
    task = Task(
        made.visual, made.mean, made.std, head, made.logit_scale, 4 / 255, 1, 1.0, seed=0, classes=tuple(classes),
        templates=("a photo of a {}",), encode_text=made.encode_text, **taught,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    source = SourceSet(rng.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8), rng.integers(0, 3, 12))
    recipe = Recipe(epochs=1, batch=6, lr=0.01, batchnorm="eval")
    checkpoint, log = Checkpoint(tmp_path / "last.ckpt", "spec"), []
    fine_tune(method, task, source, recipe, device="cpu", checkpoint=checkpoint, log=log.append)
    assert len(log) == 2 and all(math.isfinite(one["loss"]) for one in log)
    changed = trained_tensors(task.visual, task.original)
    assert any(name.endswith("proj.weight") for name in changed) and any("trunk." in name for name in changed)
    save_file(changed, tmp_path / "trained.safetensors")
    trained = {"digests": {"weights": file_digest(tmp_path / "trained.safetensors")}}
    opened = load_model(path, record, tmp_path / "trained.safetensors", trained, method.wrap)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(opened.visual.eval()(images), task.visual.eval()(images))
