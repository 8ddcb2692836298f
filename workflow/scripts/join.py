"""Put a dual encoder together from its parts; learn the projection where none is given."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from zsr.errors import ZsrError
from zsr.guard.watch import own
from zsr.hashing import encoder_digest, file_digest
from zsr.jobs.cost import peak_megabytes
from zsr.jobs.run import JobRun, run
from zsr.models import dual_parts, hub, sentence_encoder, weights
from zsr.models.backbone import Backbone, save_tensors
from zsr.progress import Progress
from zsr.training.captions import read_pairs
from zsr.training.checkpoint import Checkpoint
from zsr.training.log import TrainLog
from zsr.training.projection import JoinRecipe, check, joining, pairs

IMAGE_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # as timm's repositories have them


def work(job: JobRun) -> None:
    spec = job.spec
    torch.set_num_threads(spec.get("threads", 1))
    sources, planned = spec["parts"], spec["definition"]
    place, find = text_place(job, sources["text"], planned["text_cfg"]["form"])
    text, text_tensors = dual_parts.text_of(planned["text_cfg"]["form"], find, place)
    path = image_file(job, sources["image"])
    definition = dual_parts.whole(planned, text)
    backbone = dual_parts.assemble(definition, spec.get("seed", 0), weights.read(path)[0], text_tensors, path, place)
    job.facts["sha256"] = {"image": file_digest(path), "text": text_digest(find)}
    if "recipe" in spec:
        learn(job, backbone)
    else:
        file = job.input("projection")
        weights.check(file, sources["projection"]["sha256"])
        dual_parts.project(backbone, dual_parts.projection(file), file)
        job.facts["sha256"]["projection"] = file_digest(file)
        job.outputs["log"].write_text("", encoding="utf-8")
        job.facts["cost"] = {}
    save_file(save_tensors(backbone), job.outputs["weights"])
    job.facts |= {
        "definition": definition,
        "parameters": {
            "image": sum(value.numel() for value in backbone.visual.parameters()),
            "text": sum(value.numel() for value in backbone.clip.text.parameters()),
        },
        "logit_scale": backbone.logit_scale,
    }


def image_file(job: JobRun, source: dict) -> Path:
    """The image tower's weights, checked."""
    if "hub" in source:
        return hub.find_first(source["hub"], IMAGE_WEIGHTS, source.get("revision"))
    path = job.input("image")
    weights.check(path, source["sha256"])
    return path


def text_place(job: JobRun, source: dict, form: str) -> tuple[str, sentence_encoder.Find | Path]:
    """(how errors call it, the file of vectors or what finds a file of the sentence encoder), checked."""
    if "hub" in source:
        return f"hub repository {source['hub']}", lambda name: hub.find(source["hub"], name, source.get("revision"))
    path = job.input("text")
    if form == "vectors":
        weights.check(path, source["sha256"])
        return str(path), path
    folder = path.parent
    own(folder)
    if (found := encoder_digest(folder)) != source["sha256"]:
        raise ZsrError(f"{folder}: its sha256 is {found}, the config says {source['sha256']}; other files, or damaged")

    def find(name: str) -> Path:
        if not (folder / name).is_file():
            raise ZsrError(f"{folder / name}: no such file")
        return folder / name

    return str(folder), find


def text_digest(find: sentence_encoder.Find | Path) -> str:
    """What the record says of the text side."""
    return file_digest(find if isinstance(find, Path) else find(sentence_encoder.WEIGHTS))


def learn(job: JobRun, backbone: Backbone) -> None:
    """The projection, from the pairs of one split."""
    spec, record = job.spec, job.record("data")
    recipe = JoinRecipe(**spec["recipe"])
    images, told = read_pairs(job.input("data"), record, spec)
    given = pairs(backbone, images, told, spec["device"], spec["definition"]["interpolation"])
    training = joining(backbone.clip, given, recipe, spec["seed"], spec["device"])
    checkpoint = Checkpoint(job.folder / "last.ckpt", job.resumable)
    if (state := checkpoint.load()) is not None:
        training.load_state_dict(state)
    progress = Progress("projection", recipe.steps, training.step)
    with TrainLog(job.outputs["log"], job.folder / "tensorboard", job.resumable) as log:
        row = {}
        for row in training:
            log(row)
            progress.step(note=f"loss {row['loss']:.3f}")
            checkpoint.step(training.state_dict)
        job.check_code()  # a result that may not land must not cost the checkpoint
        checkpoint.done()
    head = training.model.eval()
    job.facts["held_out"] = check(head, given, spec["seed"])
    with torch.no_grad():
        backbone.clip.logit_scale.copy_(head.logit_scale)
    backbone.clip.cpu().eval()
    cost = {"steps": recipe.steps, "peak_megabytes": peak_megabytes(spec["device"])}
    job.facts |= {"texts": len(given.texts), "final_loss": row.get("loss"), "cost": cost}


if __name__ == "__main__":
    run(work)
