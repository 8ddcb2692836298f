"""A small CLIP whose words matter, and tasks for methods that learn prompts."""

import pytest
import torch

from support.method_setting import make_source
from zsr.evaluation.class_embeddings import class_embeddings
from zsr.methods.advmaple import AdvMaPLe
from zsr.methods.advtp import AdvTP
from zsr.methods.advvlp import AdvVLP
from zsr.methods.apd import APD
from zsr.methods.apt import APT
from zsr.methods.core.task import Task
from zsr.methods.fap import FAP
from zsr.models import word_tokenizer
from zsr.models.backbone import build
from zsr.training import fine_tune

NAMES, TEMPLATES = ["circle", "red square", "letter e", "digit 4"], ["a photo of a {}", "a photo of a {} object"]
SCALE, SIDE = 6.0, 12
VIT = {"layers": 2, "width": 16, "head_width": 8, "mlp_ratio": 2.0, "patch_size": 4, "image_size": SIDE}
RESNET = {"layers": [1, 1, 1, 1], "width": 8, "head_width": 8, "image_size": 32}
METHODS = {
    "apt": APT(tokens=4),
    "apt-constant": APT(tokens=4, perturb="constant"),
    "advtp": AdvTP(tokens=3, init="a photo of a", template="dataset"),
    "advmaple": AdvMaPLe(),
    "advvlp": AdvVLP(),
    "fap": FAP(),
    "apd": APD(),
    "apd-feedback": APD(label=0.0, feedback=0.7),
    "apd-offline": APD(teacher="offline"),
}
each = pytest.mark.parametrize("name", METHODS)


def arch(vision: dict = VIT) -> dict:
    text = {"context_length": 12, "vocab_size": len(word_tokenizer.vocabulary()), "width": 16, "heads": 2, "layers": 3}
    shared = {"embed_dim": 8, "logit_scale": SCALE, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.25]}
    return {**shared, "vision_cfg": dict(vision), "text_cfg": text, "tokenizer": "words"}


def make_backbone(vision: dict = VIT, seed: int = 1):
    backbone = build(arch(vision), seed)
    with torch.no_grad():  # fresh embeddings are tiny: words must matter
        backbone.clip.token_embedding.weight.mul_(30)
        backbone.clip.positional_embedding.mul_(10)
        for part in (backbone.clip.transformer, backbone.clip.visual):
            for parameter in part.parameters():
                parameter.mul_(3 if parameter.ndim == 2 else 1)
    backbone.clip.eval().requires_grad_(False)
    return backbone


def make_task(method, backbone=None, seed: int = 3) -> Task:
    backbone = backbone or make_backbone()
    head = class_embeddings(backbone, NAMES, TEMPLATES)
    return Task(
        backbone.visual, backbone.mean, backbone.std, head, SCALE, 16 / 255, 2, 0.5, seed,
        classes=tuple(NAMES), templates=tuple(TEMPLATES), encode_text=backbone.encode_text,
        text=backbone.text if method.trains_text else None,
    )  # fmt: skip


def dressed(method, *, moved: bool = True, backbone=None) -> Task:
    """As the loop does before the first step; with `moved`, the prompts are somewhere else than at their start."""
    task = make_task(method, backbone)
    method.check(task)
    task.wrap_student(method.wrap)
    method.prepare(task, make_source(side=SIDE))
    fine_tune.choose_parameters(method, task.visual)
    generator = torch.Generator().manual_seed(8)
    for parameter in task.visual.parameters():
        if moved and parameter.requires_grad:
            parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return task
