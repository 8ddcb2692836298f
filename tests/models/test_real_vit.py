"""The VisionTransformer for photographs: it is open_clip's, and every method of config/real-vit.yaml trains it."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from support.project import ROOT

from zsr import registry
from zsr.evaluation.class_embeddings import class_embeddings
from zsr.hashing import file_digest
from zsr.methods.core.task import Task
from zsr.models.backbone import Backbone, build, load_model, save_tensors
from zsr.training.checkpoint import Checkpoint
from zsr.training.fine_tune import SourceSet, fine_tune, trained_tensors
from zsr.training.recipe import Recipe

DEFINITION = yaml.safe_load((ROOT / "zsr/models/archs/real-vit.yaml").read_text(encoding="utf-8"))
CONFIG = yaml.safe_load((ROOT / "config/real-vit.yaml").read_text(encoding="utf-8"))
CLASSES = ["red cat", "green cat", "blue dog"]


def rows() -> list[dict]:
    return [entry for entry in CONFIG["models"] if entry["method"] != "clip"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, dict]:
    """Fresh weights in a file, and their record."""
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("vit") / "weights.safetensors"
    save_file(save_tensors(build(DEFINITION, seed=1)), path)
    return path, {"definition": DEFINITION, "digests": {"weights": file_digest(path)}}


def test_it_is_what_its_file_says():
    vit = build(DEFINITION)
    count = sum(p.numel() for p in vit.clip.parameters())
    assert round(count / 1e6, 1) == 9.8 and round(vit.clip.token_embedding.weight.numel() / 1e6, 1) == 6.3
    assert vit.visual.positional_embedding.shape[0] == 65 and vit.embed_dim == 384  # all-MiniLM-L6-v2's
    assert vit.tokens(["a photo of a " + "right-of-way " * 4]).shape == (1, 32)


def test_all_of_the_papers_prompt_and_attention_methods_are_in_its_config():
    named = {entry["method"] for entry in rows()}
    assert {"tga-zsr", "comp-tga", "vp-token", "vp-pixel", "advvp", "apt", "advmaple", "fap", "apd"} < named


@pytest.mark.slow
@pytest.mark.parametrize("row", rows(), ids=lambda row: row["name"])
def test_every_method_of_its_config_trains_it_and_is_opened_again(made, tmp_path, row):
    vit: Backbone = build(DEFINITION, seed=1)
    head = class_embeddings(vit, CLASSES, ["a photo of a {}."]).detach()
    method = registry.load("methods", row["method"])(**row.get("settings", {}))
    vit.clip.requires_grad_(False)
    task = Task(
        vit.visual, vit.mean, vit.std, head, vit.logit_scale, 1 / 255, 1, 1.0, seed=0, classes=tuple(CLASSES),
        templates=("a photo of a {}.",), encode_text=vit.encode_text, text=vit.text if method.trains_text else None,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    source = SourceSet(rng.integers(0, 256, (8, 3, 64, 64), dtype=np.uint8), rng.integers(0, 3, 8))
    checkpoint, log = Checkpoint(tmp_path / "last.ckpt", "spec"), []
    recipe = Recipe(epochs=1, batch=4, lr=row.get("recipe", {}).get("lr", CONFIG["finetune"]["lr"]), optimizer="adamw")
    fine_tune(method, task, source, recipe, device="cpu", checkpoint=checkpoint, log=log.append)
    assert len(log) == 2 and all(math.isfinite(one["loss"]) for one in log)
    save_file(trained_tensors(task.visual, task.original), tmp_path / "trained.safetensors")
    trained = {"digests": {"weights": file_digest(tmp_path / "trained.safetensors")}}
    path, record = made
    opened = load_model(
        path, record, tmp_path / "trained.safetensors", trained, method.wrap, with_text=method.trains_text
    )
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(opened.visual.eval()(images), task.visual.eval()(images))
