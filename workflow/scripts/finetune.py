"""Fine-tune one model on the source set and keep the tensors that changed."""

import math

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from zsr import registry
from zsr.data import prepared as arrays
from zsr.epsilon import eps_of
from zsr.jobs.cost import peak_megabytes
from zsr.jobs.run import JobRun, run
from zsr.methods.core.base import Method
from zsr.methods.core.loading import load_trained
from zsr.methods.core.processes import Processes
from zsr.methods.core.task import Task
from zsr.models.backbone import load_backbone
from zsr.training.checkpoint import Checkpoint
from zsr.training.distributed import FollowerCheckpoint, training_processes
from zsr.training.fine_tune import SourceSet, fine_tune, trained_tensors
from zsr.training.log import TrainLog
from zsr.training.recipe import Recipe


def work(job: JobRun) -> None:
    torch.set_num_threads(job.spec["threads"])
    processes, device = job.spec["recipe"]["processes"], job.spec["device"]
    checkpoint = Checkpoint(job.folder / "last.ckpt", job.resumable)
    with training_processes(processes, device, follow, job) as group:
        method, task, source, recipe = prepared(job, group)
        with TrainLog(job.outputs["log"], job.folder / "tensorboard", job.resumable) as log:
            cost = fine_tune(method, task, source, recipe, device=device, checkpoint=checkpoint, log=log)
            save_file(trained_tensors(task.visual, task.original), job.outputs["weights"])
            job.check_code()  # a result that may not land must not cost the checkpoint
            checkpoint.done()  # before the log takes its final name: a training that goes on must find its part
    read = {role: job.record(role)["digests"] for role in ("backbone", "head", "teacher") if role in job.spec["needs"]}
    job.facts |= {role: digests["head" if role == "head" else "weights"] for role, digests in read.items()}
    job.facts["cost"] = {**cost, "peak_megabytes": peak_megabytes(device)}


def follow(group: Processes, job: JobRun) -> None:
    """The same training, seen from a process that is not the first."""
    job.check_code()  # of this process
    method, task, source, recipe = prepared(job, group)
    checkpoint = FollowerCheckpoint(job.folder / "last.ckpt", job.resumable)
    fine_tune(method, task, source, recipe, device=job.spec["device"], checkpoint=checkpoint, log=lambda row: None)
    job.check_code()  # what it imported meanwhile


def prepared(job: JobRun, group: Processes) -> tuple[Method, Task, SourceSet, Recipe]:
    """What a training is made of, from the spec and the files that it names."""
    spec = job.spec
    record = job.record("backbone")
    backbone = load_backbone(job.input("backbone").with_name("weights.safetensors"), record)
    classes, templates, head = (), (), torch.zeros(0, backbone.embed_dim)
    if "head" in spec["needs"]:  # a source set without class names has none
        about = job.record("head")["spec"]
        classes, templates = about["classes"], about["templates"]
        head = load_file(job.embeddings())["head"]
    known = len(head) if spec["labelled"] else None
    images, labels = arrays.read(job.input("data").with_name("images.npy"), job.record("data"), known)
    if not spec["labelled"]:
        labels = np.full_like(labels, -1)  # whatever stands there: who looks at it all the same fails
    teacher, teacher_head = load_teacher(job, record, head) if "teacher" in spec["needs"] else (None, None)
    method = registry.load("methods", spec["method"])(**spec["settings"])
    recipe = Recipe(**spec["recipe"])
    if method.trains_text:
        backbone.clip.to(spec["device"])
    task = Task(
        visual=backbone.visual.to(spec["device"]),
        mean=backbone.mean,
        std=backbone.std,
        head=head.to(spec["device"]),
        scale=backbone.logit_scale,
        eps=float(eps_of(spec["eps"], "eps")) if "eps" in spec else math.nan,  # never attacked: who attacks fails
        attack_steps=recipe.attack_steps,
        attack_alpha=recipe.attack_alpha,
        seed=spec["seed"],
        kernels=spec.get("kernels", "reference"),
        classes=tuple(classes),
        templates=tuple(templates),
        encode_text=backbone.encode_text,
        teacher=teacher,
        teacher_head=teacher_head,
        text=backbone.text if method.trains_text else None,
        processes=group,
    )
    return method, task, SourceSet(images, labels), recipe


def load_teacher(job: JobRun, backbone: dict, head: Tensor) -> tuple[nn.Module, Tensor]:
    """Another model on the same backbone, as it is evaluated: its tower, and the class embeddings it uses."""
    weights, changed = (job.input(role).with_name("weights.safetensors") for role in ("backbone", "teacher"))
    loaded, method = load_trained(weights, backbone, changed, job.record("teacher"))
    device = job.spec["device"]
    return loaded.visual.to(device), method.head(loaded.visual, head).to(device)


if __name__ == "__main__":
    run(work)
