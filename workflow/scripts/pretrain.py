"""Pretrain one small CLIP on images and captions, with a teacher or without."""

import torch
from safetensors.torch import save_file

from zsr.jobs.cost import peak_megabytes
from zsr.jobs.run import JobRun, run
from zsr.models.backbone import build, load_backbone, save_tensors
from zsr.training.captions import all_prompts, read_pairs
from zsr.training.distillation import DistilRecipe, distillation
from zsr.training.files import training_files
from zsr.training.loop import run_training
from zsr.training.pretrain import Pretraining, PretrainRecipe


def work(job: JobRun) -> None:
    spec = job.spec
    torch.set_num_threads(spec["threads"])
    images, captions = read_pairs(job.input("data"), job.record("data"), spec)
    backbone = build(spec["arch"], spec["seed"])
    training: Pretraining
    if "teacher" in spec["needs"]:
        teacher = load_backbone(job.weights("teacher"), job.record("teacher"))
        recipe = DistilRecipe(**spec["recipe"])
        beyond = all_prompts(spec["texts"])
        training = distillation(backbone, images, captions, teacher, beyond, recipe, spec["seed"], spec["device"])
        taught = {"images": len(images), "texts": len(training.targets.texts)}
        job.facts |= {"teacher": job.digest("teacher", "weights"), "taught": taught}
    else:
        training = Pretraining(
            backbone, images, captions, PretrainRecipe(**spec["recipe"]), spec["seed"], spec["device"]
        )
    with training_files(job) as (checkpoint, log):
        run_training(training, checkpoint, log)
        save_file(save_tensors(training.finish()), job.outputs["weights"])
    job.facts["cost"] = {"steps": training.steps, "peak_megabytes": peak_megabytes(spec["device"])}


if __name__ == "__main__":
    run(work)
