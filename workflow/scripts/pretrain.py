"""Pretrain one small CLIP on images and captions, with a teacher or without."""

import numpy as np
import torch
from safetensors.torch import save_file

from zsr.jobs.cost import peak_megabytes
from zsr.jobs.run import JobRun, run
from zsr.models.backbone import Backbone, build, load_backbone, save_tensors
from zsr.progress import Progress
from zsr.training.captions import all_texts, of_class, read_pairs
from zsr.training.checkpoint import Checkpoint
from zsr.training.distillation import Distilling, DistilRecipe, ask, check_student
from zsr.training.log import TrainLog
from zsr.training.pretrain import CHUNK, Pretraining, PretrainRecipe


def work(job: JobRun) -> None:
    spec = job.spec
    torch.set_num_threads(spec["threads"])
    images, captions = read_pairs(job.input("data"), job.record("data"), spec)
    backbone = build(spec["arch"], spec["seed"])
    if "teacher" in spec["needs"]:
        training = distilling(job, backbone, images, captions)
    else:
        recipe = PretrainRecipe(**spec["recipe"])
        training = Pretraining(backbone, images, captions, recipe, spec["seed"], spec["device"])
    steps = training.recipe.steps
    checkpoint = Checkpoint(job.folder / "last.ckpt", job.resumable)
    if (state := checkpoint.load()) is not None:
        training.load_state_dict(state)
    progress = Progress("pretraining", steps, training.step)
    with TrainLog(job.outputs["log"], job.folder / "tensorboard", job.resumable) as log:
        for row in training:
            log(row)
            progress.step(note=f"loss {row['loss']:.3f}")
            checkpoint.step(training.state_dict)
        save_file(save_tensors(training.finish()), job.outputs["weights"])
        job.check_code()  # a result that may not land must not cost the checkpoint
        checkpoint.done()  # before the log takes its final name: a training that goes on must find its part
    job.facts["cost"] = {"steps": steps, "peak_megabytes": peak_megabytes(spec["device"])}


def distilling(job: JobRun, backbone: Backbone, images: np.ndarray, captions: list[str]) -> Distilling:
    """A training that follows the teacher, which is asked here and then forgotten."""
    spec, record = job.spec, job.record("teacher")
    teacher = load_backbone(job.input("teacher").with_name("weights.safetensors"), record)
    beyond = [
        text for named in spec["texts"] for name in named["classes"] for text in of_class(name, named["templates"])
    ]
    texts = all_texts(captions, beyond)
    check_student(teacher, backbone, texts)
    progress = Progress("teacher", -(-len(images) // CHUNK))
    taught = ask(teacher, images, texts, spec["device"], progress.step)
    job.facts |= {"teacher": record["digests"]["weights"], "taught": {"images": len(images), "texts": len(texts)}}
    recipe = DistilRecipe(**spec["recipe"])
    return Distilling(backbone, images, captions, taught, beyond, recipe, spec["seed"], spec["device"])


if __name__ == "__main__":
    run(work)
