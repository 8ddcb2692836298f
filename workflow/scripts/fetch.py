"""Fetch one backbone and convert it once: every later job reads our own safetensors and how to rebuild the model."""

import json

from safetensors.torch import save_file

from zsr.errors import ZsrError
from zsr.jobs.run import JobRun, run
from zsr.models import catalogue, hub, weights
from zsr.models.backbone import save_tensors
from zsr.models.convert import check_gelu, convert
from zsr.storage.unreadable import reading


def work(job: JobRun) -> None:
    source = job.spec["source"]
    definition = job.spec["definition"] or hub_definition(source)
    path = job.input("weights") if "sha256" in source else hub.weights(source["hub"], source["file"], revision(source))
    digest = weights.check(path, source.get("sha256"))
    tensors, quick = weights.read(path)
    check_gelu(definition, quick, path)
    backbone = convert(definition, tensors, path)
    save_file(save_tensors(backbone), job.outputs["weights"])
    job.facts |= {
        "definition": definition,
        "file": path.name,
        "sha256": digest,
        "parameters": sum(value.numel() for value in backbone.clip.parameters()),
        "logit_scale": backbone.logit_scale,
    }


def revision(source: dict) -> str | None:
    """The commit or branch that was asked for; None is the main branch."""
    return source.get("revision")


def hub_definition(source: dict) -> dict:
    """What the hub says of a model that open_clip does not list."""
    place = f"hub repository {source['hub']}"
    path = hub.find(source["hub"], hub.CONFIG, revision(source))
    with reading(path, "a config in open_clip's format"):
        says = json.loads(path.read_text(encoding="utf-8"))
        model, pixels = dict(says["model_cfg"]), dict(says.get("preprocess_cfg", {}))
    for key in ("mean", "std"):
        if not _is_colour(pixels.get(key, [0.5] * 3)):
            raise ZsrError(f"{place}: {hub.CONFIG} says {key}: {pixels[key]!r:.60}; three numbers from 0 are wanted")
    if "quick_gelu" in source:
        model["quick_gelu"] = source["quick_gelu"]
    return catalogue.definition(model, pixels, place)


def _is_colour(values: object) -> bool:
    return (
        isinstance(values, list)
        and len(values) == 3
        and all(isinstance(value, int | float) and value >= 0 for value in values)
    )


if __name__ == "__main__":
    run(work)
