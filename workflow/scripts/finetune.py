"""Fine-tune one model on the source set and keep the tensors that changed."""

import torch
from safetensors.torch import load_file, save_file

from zsr import arrays, registry
from zsr.checkpoint import Checkpoint
from zsr.cost import peak_megabytes
from zsr.epsilon import eps_of
from zsr.job import Job, run
from zsr.models.backbone import load_backbone
from zsr.recipe import Recipe
from zsr.task import Task
from zsr.train import Source, fine_tune, trained_tensors
from zsr.trainlog import TrainLog


def work(job: Job) -> None:
    spec = job.spec
    torch.set_num_threads(spec["threads"])
    record = job.record("backbone")
    backbone = load_backbone(job.input("backbone").with_name("weights.safetensors"), record)
    head_record = job.record("head")
    head = load_file(job.input("head").with_suffix(".safetensors"))["head"]
    images, labels = arrays.read(job.input("data").with_name("images.npy"), job.record("data"), len(head))
    method = registry.load("methods", spec["method"])(**spec["settings"])
    recipe = Recipe(**spec["recipe"])
    task = Task(
        visual=backbone.visual.to(spec["device"]),
        mean=backbone.mean,
        std=backbone.std,
        head=head.to(spec["device"]),
        scale=backbone.logit_scale,
        eps=float(eps_of(spec["eps"], "eps")),
        attack_steps=recipe.attack_steps,
        attack_alpha=recipe.attack_alpha,
        seed=spec["seed"],
        kernels=spec["kernels"],
        classes=tuple(head_record["spec"]["classes"]),
        encode_text=backbone.encode_text,
    )
    checkpoint = Checkpoint(job.folder / "last.ckpt", job.hash)
    with TrainLog(job.outputs["log"], job.folder / "tensorboard", job.hash) as log:
        cost = fine_tune(
            method, task, Source(images, labels), recipe, device=spec["device"], checkpoint=checkpoint, log=log
        )
    save_file(trained_tensors(task.visual, task.original), job.outputs["weights"])
    checkpoint.done()
    job.facts |= {
        "backbone": record["digests"]["weights"],
        "head": head_record["digests"]["head"],
        "cost": {**cost, "peak_megabytes": peak_megabytes(spec["device"])},
    }


if __name__ == "__main__":
    run(work)
