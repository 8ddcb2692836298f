"""A pretraining with a teacher as the config means it, and from the config to its record through Snakemake."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.damage import truncate
from support.dual_encoder import PLANNED
from support.encoders import TOWER, image_file, projection_file
from support.jobs import run
from support.project import refused
from support.stopping import stop_after

from zsr.config.complete import complete
from zsr.config.datasets import definition
from zsr.hashing import file_digest
from zsr.models import dual_parts
from zsr.plan.plan import Plan
from zsr.training.captions import of_class

STUDENT = {"dataset": "mini-source", "teacher": "lit", "texts": ["more"], "batch": 32, "warmup": 1, "text_batch": 4}


@pytest.fixture
def config(mini) -> dict:
    """mini's `rn` teaches `vit`."""
    mini["backbones"][1]["pretrain"] |= {"teacher": "rn", "texts": ["drawn-colour", "handwritten-digits"]}
    return mini


def student(config: dict) -> dict:
    return config["backbones"][1]["pretrain"]


# -- the config -------------------------------------------------------------------------------------------------------


def narrow(config: dict) -> None:
    """A teacher of open_clip, whose width is known before it is fetched."""
    config["backbones"][0] = {"name": "rn", "open_clip": "RN50-quickgelu", "pretrained": "openai"}


def circle(config: dict) -> None:
    """rn learns from vit, which learns from rn."""
    config["backbones"][0]["pretrain"]["teacher"] = "vit"


def nameless(config: dict) -> None:
    """A set that has no classes."""
    config["data"].append({"name": "mine", "like": "drawn-captions", "splits": {"train": 64}})
    student(config)["texts"] = ["mine"]


def wordless(config: dict) -> None:
    config["data"].append({"name": "mine", "like": "drawn-source", "labelled": False, "splits": {"train": 64}})
    student(config)["dataset"] = "mine"


MISTAKES = {
    "unknown": (lambda c: student(c).update(teacher="rm"), r"pretrain.teacher: unknown backbone 'rm'; did you mean"),
    "itself": (lambda c: student(c).update(teacher="vit"), r"learns from itself \(vit <- vit\)"),
    "cycle": (circle, r"backbones\[0\] 'rn'.pretrain.teacher: learns from itself \(rn <- vit <- rn\)"),
    "width": (narrow, "'rn' has features of 1024 dimensions, 'drawn-vit' of 64; take an `arch` with that embed_dim"),
    "no teacher": (lambda c: student(c).pop("teacher"), "`texts` are for a teacher to say where they belong"),
    "no classes": (nameless, "pretrain.texts: 'mine' has no classes and so no prompts; take it out"),
    "no words": (wordless, "pretrain: 'mine' has neither captions nor labels with class names"),
    "unknown set": (lambda c: student(c).update(texts=["drawn-color"]), r"texts\[0\]: unknown dataset 'drawn-color'"),
    "unknown key": (lambda c: student(c).update(wieght=2), "unknown setting 'wieght'; did you mean 'weight'"),
    "weight alone": (
        lambda c: c["backbones"][0]["pretrain"].update(weight=2), "'rn'.pretrain: unknown setting 'weight'"
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(config, mistake):
    change, message = MISTAKES[mistake]
    change(config)
    with refused(message):
        complete(config)


def pretraining(config: dict, name: str = "vit") -> dict:
    return Plan(config).graph.job("pretrain", {"backbone": name}).spec


def test_the_spec_holds_what_the_weights_depend_on(config):
    spec = pretraining(config)
    sets = complete(copy.deepcopy(config)).datasets
    assert [entry["classes"] for entry in spec["texts"]] == [
        sets[name].classes for name in ("drawn-colour", "handwritten-digits")
    ]
    assert spec["recipe"]["weight"] == 1.0 and spec["recipe"]["text_batch"] == 64
    assert set(spec["needs"]) == {"data", "teacher"} and "classes" not in spec, "its captions are the data's"
    assert "zsr/models/kinds/words_clip.py" in spec["code"]["roots"]
    changed = copy.deepcopy(config)
    changed["backbones"][0]["pretrain"]["steps"] = 11
    assert pretraining(changed)["needs"]["teacher"] != spec["needs"]["teacher"]
    student(config)["dataset"] = "mini-source"
    named = pretraining(config)
    assert named["classes"] == sets["mini-source"].classes and named["templates"] == sets["mini-source"].templates


def test_without_a_teacher_a_spec_says_nothing_of_one(mini):
    """What stood in the specs before teachers could be named still stands there alone: no result is made again."""
    for name in ("rn", "vit"):
        spec = pretraining(mini, name)
        assert set(spec) == {"job", "arch", "recipe", "seed", "device", "threads", "needs", "code", "environment"}
        assert not {"weight", "text_batch"} & set(spec["recipe"]) and set(spec["needs"]) == {"data"}


def test_a_students_order_in_the_config_is_free(config):
    config["backbones"].reverse()
    assert Plan(config).graph.job("pretrain", {"backbone": "vit"}).needs["teacher"].wildcards == {"backbone": "rn"}


# -- the rule ---------------------------------------------------------------------------------------------------------


def dual(folder: Path, texts: list[str], width: int) -> dict:
    """A backbone of the config: a tower, a random vector for each text, a map onto as many dimensions."""
    vectors, given = folder / f"v{width}.safetensors", torch.randn(len(texts), width)
    save_file({"vectors": given}, vectors, metadata={"texts": json.dumps(texts)})
    features = dual_parts.whole(PLANNED, {"form": "vectors", "width": width})["vision_cfg"]["features"]
    files = {
        "weights": image_file(folder / "tower.safetensors"),
        "vectors": vectors,
        "projection": projection_file(folder / f"p{width}.npz", features, width),
    }
    named = {key: {"weights": str(path), "sha256": file_digest(path)} for key, path in files.items()}
    named["vectors"]["vectors"] = named["vectors"].pop("weights")
    image = {"timm": TOWER, "size": 32, "mean": [0.5] * 3, "std": [0.25] * 3, **named["weights"]}
    return {"name": "lit", "dual": {"image": image, "text": named["vectors"], "projection": named["projection"]}}


@pytest.fixture
def taught(mini, project, tmp_path) -> dict:
    """A dual encoder teaches a drawn-vit on images that have classes and no captions."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    mini["data"] += [
        {"name": "more", "like": "drawn-colour", "templates": ["a {} at the top"]},
        {"name": "other", "like": "drawn-colour", "templates": ["a {} at the bottom"]},
    ]
    mini["backbones"] = [{"name": "vit", "arch": "drawn-vit", "pretrain": {**STUDENT, "steps": 200}}]
    mini["models"], mini["protocols"] = mini["models"][:1], mini["protocols"][:1]
    mini["protocols"][0] |= {"datasets": ["drawn-colour"], "eps": ["1/255"], "images": 16}
    sets = {name: definition(mini["data"], name, "test") for name in ("mini-source", "more")}
    texts = [text for each in sets.values() for name in each.classes for text in of_class(name, each.templates)]
    mini["backbones"] += [dual(tmp_path, texts, 64)]
    mini["models"][0]["backbones"] = ["vit"]
    project.configure(mini)
    return mini


def line_of(said: str) -> str:
    assert "Traceback" not in said, said
    return next(line for line in said.splitlines() if line.startswith("zsr: "))


@pytest.mark.slow
def test_from_the_teacher_to_the_report_and_again_after_an_interruption(taught, project, tmp_path):
    project.snakemake()
    plan = Plan(taught)
    job = plan.graph.job("pretrain", {"backbone": "vit"})
    made = project.folder / plan.results / "backbones" / "vit"
    record = json.loads((made / "manifest.json").read_text(encoding="utf-8"))
    lit = json.loads((made.parent / "lit" / "manifest.json").read_text(encoding="utf-8"))
    sets = complete(copy.deepcopy(taught)).datasets
    seen = np.unique(np.load(project.folder / plan.results / "data/mini-source/train/native/labels.npy"))
    texts = len(seen) * len(sets["mini-source"].templates) + len(sets["more"].classes)  # captions that occur
    assert record["teacher"] == lit["digests"]["weights"] and record["taught"] == {"images": 256, "texts": texts}
    rows = [json.loads(line) for line in (made / "train.jsonl").open(encoding="utf-8")]
    assert len(rows) == 200 and rows[-1]["image_cosine"] > rows[0]["image_cosine"] + 0.3
    assert (project.folder / plan.results / "report.html").exists()

    kept = {name: (made / name).read_bytes() for name in ("weights.safetensors", "train.jsonl")}
    for name in (*kept, "manifest.json"):
        (made / name).unlink()
    _, code, said = stop_after(project, plan, job, 3)
    assert code == 1 and "last.ckpt is saved, the next run goes on from it" in said
    code, said = run(project, plan, job)
    assert code == 0 and "last.ckpt: goes on from step" in said
    for name, content in kept.items():
        assert (made / name).read_bytes() == content, f"{name} is another after an interruption"

    weights = made.parent / "lit" / "weights.safetensors"
    truncate(weights)
    code, said = run(project, plan, job, tmp_path / "elsewhere")
    line = line_of(said)
    assert code == 1 and line.startswith(f"zsr: {plan.results / 'backbones/lit/weights.safetensors'}: ")
    assert "zsr repair" in line


@pytest.mark.slow
def test_a_teacher_that_does_not_fit_is_one_line(taught, project, tmp_path):
    """What only the job can know: how wide a dual encoder is, and which texts it has vectors of."""
    target = "results/backbones/vit/manifest.json"
    student = next(entry for entry in taught["backbones"] if entry["name"] == "vit")
    student["pretrain"]["texts"] = ["other"]
    project.configure(taught)
    assert "at the bottom'" in line_of(project.snakemake(target, code=1))
    taught["backbones"][1] = dual(tmp_path, ["a red circle"], 32)
    project.configure(taught)
    line = line_of(project.snakemake(target, code=1))
    assert "teacher: its features have 32 dimensions, the student's 64; take an `arch` with that embed_dim" in line
