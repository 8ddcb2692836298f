"""A fine-tuning as its job describes it: the method, its task, the source set and the recipe."""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from zsr import registry
from zsr.data import prepared
from zsr.epsilon import eps_of
from zsr.methods.core.base import Method
from zsr.methods.core.loading import load_trained
from zsr.methods.core.processes import Processes
from zsr.methods.core.source_set import SourceSet
from zsr.methods.core.task import Task
from zsr.models.backbone import load_backbone
from zsr.training.distributed import FollowerCheckpoint
from zsr.training.files import CHECKPOINT
from zsr.training.fine_tune import fine_tune
from zsr.training.recipe import Recipe

if TYPE_CHECKING:
    from zsr.jobs.run import JobRun


class Setting(NamedTuple):
    """The arguments of `fine_tune`."""

    method: Method
    task: Task
    source_set: SourceSet
    recipe: Recipe


def setting_of(job: "JobRun", processes: Processes) -> Setting:
    """Read what the spec names. `eps` is NaN where no ε is set: whoever attacks then fails."""
    spec = job.spec
    device = spec["device"]
    method = registry.load("methods", spec["method"])(**spec["settings"])
    recipe = Recipe(**spec["recipe"])
    backbone = load_backbone(job.weights("backbone"), job.record("backbone"))
    classes, templates, head = (), (), torch.zeros(0, backbone.embed_dim)
    if "head" in spec["needs"]:  # a source set without class names has none
        named = job.record("head")["spec"]
        classes, templates = tuple(named["classes"]), tuple(named["templates"])
        head = load_file(job.embeddings())["head"]
    teacher, teacher_head = load_teacher(job, head) if "teacher" in spec["needs"] else (None, None)
    if method.trains_text:
        backbone.clip.to(device)
    task = Task(
        visual=backbone.visual.to(device),
        mean=backbone.mean,
        std=backbone.std,
        head=head.to(device),
        scale=backbone.logit_scale,
        eps=float(eps_of(spec["eps"], "eps")) if "eps" in spec else math.nan,
        attack_steps=recipe.attack_steps,
        attack_alpha=recipe.attack_alpha,
        seed=spec["seed"],
        kernels=spec.get("kernels", "reference"),
        classes=classes,
        templates=templates,
        encode_text=backbone.encode_text,
        teacher=teacher,
        teacher_head=teacher_head,
        text=backbone.text if method.trains_text else None,
        processes=processes,
    )
    return Setting(method, task, read_source_set(job, len(head)), recipe)


def read_source_set(job: "JobRun", classes: int) -> SourceSet:
    """The prepared split; the labels of an unlabelled set are -1, so that a loss that reads them fails."""
    labelled = job.spec["labelled"]
    images, labels = prepared.read(job.path("data", "images"), job.record("data"), classes if labelled else None)
    return SourceSet(images, labels if labelled else np.full_like(labels, -1))


def load_teacher(job: "JobRun", head: Tensor) -> tuple[nn.Module, Tensor]:
    """Another model on the same backbone, as it is evaluated: its tower, and the class embeddings it uses."""
    backbone, method = load_trained(
        job.weights("backbone"), job.record("backbone"), job.weights("teacher"), job.record("teacher")
    )
    device = job.spec["device"]
    return backbone.visual.to(device), method.head(backbone.visual, head).to(device)


def follow(processes: Processes, job: "JobRun") -> None:
    """The same training in a process that is not the first: it neither saves nor logs."""
    job.check_code()  # of this process
    checkpoint = FollowerCheckpoint(job.folder / CHECKPOINT, job.resumable)
    setting = setting_of(job, processes)
    fine_tune(*setting, device=job.spec["device"], checkpoint=checkpoint, log=lambda row: None)
    job.check_code()  # what it imported meanwhile
