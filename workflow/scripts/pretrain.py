"""Pretrain one small CLIP on images and captions."""

import json

import torch
from safetensors.torch import save_file

from zsr import arrays
from zsr.checkpoint import Checkpoint
from zsr.cost import peak_megabytes
from zsr.job import Job, run
from zsr.models.backbone import build, save_tensors
from zsr.pretrain import Pretraining, PretrainRecipe
from zsr.progress import Progress
from zsr.store import check_digest
from zsr.trainlog import TrainLog


def work(job: Job) -> None:
    spec = job.spec
    torch.set_num_threads(spec["threads"])
    record = job.record("data")
    images, _ = arrays.read(job.input("data").with_name("images.npy"), record)
    captions = check_digest(job.input("data").with_name("captions.json"), record["digests"]["captions"])
    recipe = PretrainRecipe(**spec["recipe"])
    backbone = build(spec["arch"], spec["seed"])
    training = Pretraining(backbone, images, json.loads(captions.read_text()), recipe, spec["seed"], spec["device"])
    checkpoint = Checkpoint(job.folder / "last.ckpt", job.hash)
    if (state := checkpoint.load()) is not None:
        training.load_state_dict(state)
    progress = Progress("pretraining", recipe.steps, training.step)
    with TrainLog(job.outputs["log"], job.folder / "tensorboard", job.hash) as log:
        for row in training:
            log(row)
            progress.step(note=f"loss {row['loss']:.3f}")
            checkpoint.step(training.state_dict)
        save_file(save_tensors(training.finish()), job.outputs["weights"])
        checkpoint.done()  # before the log takes its final name: a training that goes on must find its part
    job.facts["cost"] = {"steps": recipe.steps, "peak_megabytes": peak_megabytes(spec["device"])}


if __name__ == "__main__":
    run(work)
