"""A short form of the embedded benchmark: its backbones, pretrained and fine-tuned here with the workflow's code.

Long enough that some images are robust and some are fooled.

    python -m gpu.embedded FOLDER DEVICE TINY [STEP]    # the fine-tuning again; it kills itself before it saves STEP
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from gpu.towers import definition
from zsr import registry
from zsr.attacks import Normalized, Verdicts, attack
from zsr.data.prepared import Chunk
from zsr.data.set_files import set_file
from zsr.evaluation.cell import ZeroShot
from zsr.evaluation.class_embeddings import class_embeddings
from zsr.methods.core.source_set import SourceSet
from zsr.methods.core.task import Task
from zsr.models.backbone import Backbone, build
from zsr.training.checkpoint import Checkpoint
from zsr.training.fine_tune import fine_tune, trained_tensors
from zsr.training.pretrain import Pretraining, PretrainRecipe
from zsr.training.recipe import Recipe

TRAIN_EPS, EPS = 4 / 255, 2 / 255  # with the second, about a third to a half of the images are robust
BACKBONE, WHOLE, AGAIN = "backbone.safetensors", "whole.safetensors", "again.safetensors"


class Length(NamedTuple):
    """Images that are drawn, and steps of the trainings."""

    captioned: int
    source: int
    test: int
    pretraining: int
    finetuning: int


FULL, TINY = Length(8000, 3000, 1000, 500, 100), Length(256, 120, 40, 4, 4)


def draw(name: str, split: str, count: int) -> tuple[Chunk, dict]:
    """The first images of a split of a drawn set, and the set's definition."""
    about = set_file(name)
    chunks = registry.load("data/readers", about["reader"])(**about["options"]).read(split)
    parts = [next(chunks)]
    while sum(len(part.labels) for part in parts) < count:
        parts.append(next(chunks))
    captions = [caption for part in parts for caption in part.captions or []][:count] or None
    images, labels = (np.concatenate([getattr(p, field) for p in parts])[:count] for field in ("images", "labels"))
    return Chunk(images, labels.astype(np.int64), captions), about


def pretrain(name: str, length: Length, device: str) -> Backbone:
    """A backbone after a short pretraining."""
    chunk, _ = draw("drawn-captions", "train", length.captioned)
    recipe = PretrainRecipe(steps=length.pretraining, batch=128, warmup=min(50, length.pretraining // 2))
    training = Pretraining(build(definition(name)), chunk.images, chunk.captions, recipe, 0, device)
    for _ in training:
        pass
    return training.finish()


def save_backbone(backbone: Backbone, folder: Path) -> None:
    """For a fine-tuning in another process."""
    state = {key: value.cpu().contiguous() for key, value in backbone.clip.state_dict().items()}
    save_file(state, folder / BACKBONE)


def fine_tune_tecoa(
    backbone: Backbone, length: Length, device: str, checkpoint: Checkpoint, log: Callable[[dict], None]
) -> Task:
    """TeCoA with AMP, by the workflow's own loop."""
    chunk, about = draw("drawn-source", "train", length.source)
    head = class_embeddings(backbone, about["classes"], about["templates"]).to(device)
    visual, scale = backbone.visual.to(device), backbone.logit_scale
    task = Task(visual, backbone.mean, backbone.std, head, scale, TRAIN_EPS, 2, 1.0, seed=0)
    batch = min(100, length.source)
    epochs = length.finetuning * batch / length.source
    recipe = Recipe(epochs=epochs, batch=batch, optimizer="adamw", lr=1e-3, warmup=10, amp="fp16")
    source = SourceSet(chunk.images, chunk.labels)
    method = registry.load("methods", "tecoa")()
    fine_tune(method, task, source, recipe, device=device, checkpoint=checkpoint, log=log)
    return task


class Student:
    """A fine-tuned model under attack, and its test images; `folder` has its weights and the backbone's."""

    def __init__(self, backbone: Backbone, task: Task, length: Length, folder: Path) -> None:
        self.folder = folder
        self.model = Normalized(ZeroShot(task.visual, task.head, task.scale), backbone.mean, backbone.std)
        self.model.eval().requires_grad_(False)
        chunk, _ = draw("drawn-source", "test", length.test)
        self.x, self.y = torch.from_numpy(chunk.images), torch.from_numpy(chunk.labels)

    def attack(self, device: str, name: str, precision: str = "fp32", count: int | None = None, **more) -> Verdicts:
        """The same images and random numbers on every device; images come from the CPU, as in the workflow."""
        x, y = self.x[:count], self.y[:count]
        settings = {"eps": EPS, "batch_size": 500, "index": torch.arange(len(x)), "precision": precision} | more
        return attack(self.model.to(device), x, y, name, **settings)


def main(folder: Path, device: str, tiny: bool, kill_at: int | None = None) -> None:
    """The fine-tuning again, saved after every step, in a process that may kill itself."""
    backbone = build(definition("drawn-vit"))
    backbone.clip.load_state_dict(load_file(folder / BACKBONE))
    backbone.clip.to(device).eval().requires_grad_(False)
    checkpoint = Checkpoint(folder / "last.ckpt", "again", every=0.0)

    def log(row: dict) -> None:
        if row["step"] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        print("step", row["step"], flush=True)

    task = fine_tune_tecoa(backbone, TINY if tiny else FULL, device, checkpoint, log)
    save_file(trained_tensors(task.visual, task.original), folder / AGAIN)
    checkpoint.done()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "1", *map(int, sys.argv[4:]))
