"""Put a dual encoder together from its parts; learn the projection where none is given."""

import torch
from safetensors.torch import save_file

from zsr.hashing import file_digest
from zsr.jobs.cost import peak_megabytes
from zsr.jobs.run import JobRun, run
from zsr.models import dual_parts, weights
from zsr.models.backbone import Backbone, save_tensors
from zsr.models.dual_files import build_dual
from zsr.training.captions import read_pairs
from zsr.training.files import training_files
from zsr.training.projection import JoinRecipe, learn_projection


def work(job: JobRun) -> None:
    spec = job.spec
    torch.set_num_threads(spec.get("threads", 1))
    image, text = (job.input(part) if "sha256" in spec["parts"][part] else None for part in ("image", "text"))
    backbone, definition, digests = build_dual(spec["definition"], spec.get("seed", 0), spec["parts"], image, text)
    job.facts["sha256"] = digests
    if "recipe" in spec:
        learn(job, backbone)
    else:
        use_given(job, backbone)
    save_file(save_tensors(backbone), job.outputs["weights"])
    job.facts |= {
        "definition": definition,
        "parameters": {
            "image": sum(value.numel() for value in backbone.visual.parameters()),
            "text": sum(value.numel() for value in backbone.clip.get_submodule("text").parameters()),
        },
        "logit_scale": backbone.logit_scale,
    }


def learn(job: JobRun, backbone: Backbone) -> None:
    """The projection, from the pairs of one split."""
    spec = job.spec
    images, captions = read_pairs(job.input("data"), job.record("data"), spec)
    recipe = JoinRecipe(**spec["recipe"])
    with training_files(job) as (checkpoint, log):
        learned = learn_projection(
            backbone,
            images,
            captions,
            recipe,
            resize=spec["definition"]["interpolation"],
            seed=spec["seed"],
            device=spec["device"],
            checkpoint=checkpoint,
            log=log,
        )
    cost = {"steps": recipe.steps, "peak_megabytes": peak_megabytes(spec["device"])}
    job.facts |= {**learned, "cost": cost}


def use_given(job: JobRun, backbone: Backbone) -> None:
    """The projection of a file."""
    file = job.input("projection")
    weights.check(file, job.spec["parts"]["projection"]["sha256"])
    dual_parts.project(backbone, dual_parts.projection(file), file)
    job.outputs["log"].write_text("", encoding="utf-8")
    job.facts["sha256"]["projection"] = file_digest(file)
    job.facts["cost"] = {}


if __name__ == "__main__":
    run(work)
