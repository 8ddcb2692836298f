"""Learning the projection of a dual encoder, captions of datasets of one's own, and the rule from end to end."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from support.dual_encoder import PLANNED
from support.dual_encoder import entry as given_entry
from support.encoders import image_file, sentence_folder
from support.preparing import spec_of
from support.project import ROOT

from zsr import registry
from zsr.checks.required_files import check_variables
from zsr.config.datasets import definition
from zsr.env_paths import expand
from zsr.errors import ZsrError
from zsr.evaluation.class_embeddings import class_embeddings
from zsr.hashing import encoder_digest, file_digest
from zsr.models import dual_parts, weights
from zsr.models.backbone import Backbone
from zsr.models.dual_files import finder
from zsr.plan.plan import Plan
from zsr.training import projection as join
from zsr.training.captions import prompts

CLASSES = ["red cat", "green cat", "blue cat", "grey dog"]
COLOURS = [(200, 60, 60), (60, 200, 60), (60, 60, 200), (128, 128, 128)]
TEMPLATES = ["a photo of a {}", "a {}."]
RECIPE = join.JoinRecipe(steps=60, batch=32, lr=5e-2, warmup=5)


def coloured(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise around one of four colours."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    noise = rng.normal(0, 40, (count, 3, 32, 32))
    return (np.array(COLOURS)[labels][:, :, None, None] + noise).clip(0, 255).astype(np.uint8), labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A tower and a sentence encoder."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("parts")
    image_file(folder / "tower.safetensors")
    sentence_folder(folder / "text")
    return folder


def fresh(folder: Path, seed: int = 0) -> Backbone:
    text, tensors = dual_parts.text_of("sentence", finder(folder / "text"), "text")
    image = weights.read(folder / "tower.safetensors")[0]
    return dual_parts.assemble(dual_parts.whole(PLANNED, text), seed, image, tensors, folder, folder)


def learned(folder: Path, seed: int = 0, broken: int = 0) -> tuple[Backbone, join.ProjectionTraining, join.FrozenPairs]:
    images, labels = coloured(200)
    made = fresh(folder, seed)
    given = join.frozen_pairs(made, images, prompts(labels, CLASSES, TEMPLATES), "cpu", "bicubic")
    training = join.ProjectionTraining(made, given, RECIPE, seed, "cpu")
    if broken:
        for _ in range(broken):
            training.advance()
        state = training.state_dict()
        made = fresh(folder, seed)
        training = join.ProjectionTraining(made, given, RECIPE, seed, "cpu")
        training.load_state_dict(state)
    list(training)
    training.finish()
    return made, training, given


def test_what_is_learned_beats_chance_on_images_that_were_not_seen(folder):
    made, training, given = learned(folder)
    found = training.test()
    assert found["images"] == 20 and found["texts"] == 4 and found["accuracy"] > 0.7  # chance is 0.25
    images, labels = coloured(100, seed=9)
    pixels = (torch.from_numpy(images).float() / 255 - 0.5) / 0.25
    with torch.no_grad():
        nearest = (made.visual(pixels) @ class_embeddings(made, CLASSES, TEMPLATES).T).argmax(1).numpy()
    assert (nearest == labels).mean() > 0.7
    before = fresh(folder).visual.trunk.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in made.visual.trunk.state_dict().items())
    assert torch.allclose(made.clip.text_mean, given.vectors.mean(0)) and made.logit_scale != pytest.approx(14.3)


def test_same_seed_same_projection_and_an_interrupted_one_too(folder):
    one, same, resumed, other = (
        learned(folder, *arguments)[0].clip.state_dict() for arguments in ((0,), (0,), (0, 23), (1,))
    )
    assert all(torch.equal(one[name], same[name]) and torch.equal(one[name], resumed[name]) for name in one)
    assert not torch.equal(one["visual.proj.weight"], other["visual.proj.weight"])


def test_one_text_for_all_images_teaches_nothing(folder):
    with pytest.raises(ZsrError, match="all images have one text, 'a cat'"):
        join.frozen_pairs(fresh(folder), coloured(8)[0], ["a cat"] * 8, "cpu", "bicubic")


# -- captions ---------------------------------------------------------------------------------------------------------


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(stream, "PNG")
    return stream.getvalue()


def told(out: Path, count: int, **entry: object) -> list[str] | None:
    """The captions that are prepared of a set of the config's own."""
    entry = {"name": "mine", "splits": {"train": count}, "size": 32, **entry}
    spec = spec_of(definition([entry], "mine", "test"), "train", "native", count)
    reader = registry.load("data/readers", spec["reader"])(**spec["options"])
    out.mkdir(exist_ok=True)
    return reader.prepare(spec, out / "images.npy", out / "labels.npy", "key")[1]


@pytest.mark.parametrize("label", ["label", ""])
def test_captions_of_a_parquet_file(tmp_path, monkeypatch, label):
    monkeypatch.setenv("ZSR_MINE", str(tmp_path))
    images, labels = coloured(3)
    captions = [["a red cat", "a  cat"], ["one", "two"], ["three", "four"]]
    frame = pd.DataFrame({"image": [png(image) for image in images], "label": labels, "text": captions})
    frame.to_parquet(tmp_path / "train.parquet")
    options = {"path": "$ZSR_MINE/{split}.parquet", "caption": "text", "label": label}
    about = {"reader": "parquet", "options": options, "classes": CLASSES if label else []}
    assert told(tmp_path / "out", 3, **about) == ["a red cat | a cat", "one | two", "three | four"]
    frame["text"] = ["a cat", " ", "a dog"]
    frame.to_parquet(tmp_path / "train.parquet")
    (tmp_path / ".train.parquet.checked.json").unlink()  # another file, and meant to be
    with pytest.raises(ZsrError, match="row 1, column 'text': has no caption"):
        told(tmp_path / "out", 3, **about)
    with pytest.raises(ZsrError, match="no column 'texts'; the file has image, label, text"):
        told(tmp_path / "out", 3, **{**about, "options": {**options, "caption": "texts"}})
    for value in ("", None):
        monkeypatch.setenv("ZSR_MINE", value) if value is not None else monkeypatch.delenv("ZSR_MINE")
        with pytest.raises(ZsrError, match="the variable ZSR_MINE is not set; set it to the folder that holds train"):
            told(tmp_path / "out", 3, **about)


@pytest.mark.parametrize("table", ["metadata.csv", "metadata.jsonl"])
def test_captions_of_a_folder(tmp_path, monkeypatch, table):
    monkeypatch.setenv("ZSR_DATA", str(tmp_path))
    images, _ = coloured(3)
    rows = []
    for i, name in enumerate(("dogs/b.png", "cats/a.png", "cats/c.png")):
        path = tmp_path / "mine" / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(images[i]))
        rows.append({"file_name": name, "said": f"picture {i}, of {name}"})
    place = tmp_path / "mine" / "train" / table
    if table.endswith("csv"):
        pd.DataFrame(rows).to_csv(place, index=False)
    else:
        place.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    about = {"reader": "folder", "options": {"caption": "said"}, "classes": ["cat", "dog"]}
    assert told(tmp_path / "out", 3, **about) == [
        "picture 1, of cats/a.png", "picture 2, of cats/c.png", "picture 0, of dogs/b.png"
    ]  # fmt: skip
    with pytest.raises(ZsrError, match=rf"train/{table}: no column 'text', it has file_name, said"):
        told(tmp_path / "out", 3, **{**about, "options": {"caption": "text"}})
    place.unlink()
    with pytest.raises(ZsrError, match=r"no train/metadata.csv or metadata.jsonl with captions"):
        told(tmp_path / "out", 3, **about)
    del about["options"]
    assert told(tmp_path / "out", 3, **about) is None


def test_captions_follow_half_of_the_classes(tmp_path, monkeypatch):
    monkeypatch.setenv("ZSR_MINE", str(tmp_path))
    images, _ = coloured(4)
    frame = {"image": [png(image) for image in images], "label": [1, 0, 1, 0], "text": ["a", "b", "c", "d"]}
    pd.DataFrame(frame).to_parquet(tmp_path / "train.parquet")
    options = {"path": "$ZSR_MINE/train.parquet", "caption": "text"}
    about = {"reader": "parquet", "options": options, "classes": ["cat", "dog"], "half": "new"}
    assert told(tmp_path / "out", 2, **about) == ["a", "c"]


def test_a_variant_under_another_reader_keeps_names_and_prompts_alone(tmp_path):
    entry = {"name": "mine", "like": "cifar10", "reader": "parquet", "options": {"path": "x.parquet"}}
    found = definition([{**entry, "splits": {"test": 7}, "templates": "openai"}], "mine", "test")
    assert found.classes[0] == "airplane" and len(found.templates) == 18
    assert found.splits == {"test": 7} and found.files == () and "archive" not in found.options
    with pytest.raises(ZsrError, match="the key 'splits' is missing"):
        definition([entry], "mine", "test")


# -- the rule ---------------------------------------------------------------------------------------------------------


def learning(folder: Path, dataset: str = "mini-source", **recipe: object) -> dict:
    """A backbone whose projection is learned."""
    files = {"image": folder / "tower.safetensors", "text": folder / "text", "projection": folder / "tower.safetensors"}
    made = given_entry(files)
    made["dual"]["projection"] = {"learn": {"dataset": dataset, "steps": 5, "batch": 32, **recipe}}
    return made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": 5}, "unknown setting 'step'; did you mean 'steps'"),
        ({"batch": 250}, "250 is more than nine tenths of the 256 images"),
        ({"split": "val"}, "unknown split 'val'"),
        ({"dataset": "no-labels"}, "'no-labels' has neither captions nor labels"),
    ],
)
def test_mistakes_of_a_recipe(mini, folder, change, message):
    mini["data"].append({"name": "no-labels", "like": "drawn-source", "labelled": False})
    mini["backbones"] = [learning(folder, **change)]
    with pytest.raises(ZsrError, match=message):
        Plan(mini)


def test_a_variable_that_is_not_set_stops_everything_before_it_starts(mini, project, folder, monkeypatch):
    monkeypatch.delenv("ZSR_HERE", raising=False)
    mini["backbones"] = [learning(folder)]
    mini["backbones"][0]["dual"]["image"]["weights"] = "$ZSR_HERE/tower.safetensors"
    plan = Plan(mini)  # a plan needs no file
    line = "join lit: the variable ZSR_HERE is not set; set it to the folder that holds tower.safetensors"
    with pytest.raises(ZsrError, match=line):
        check_variables(plan)
    project.configure(mini)
    for said in (project.snakemake("-n", code=1), project.zsr("data", "check", code=1)):
        assert line in said and "Traceback" not in said
    monkeypatch.setenv("ZSR_HERE", str(folder))
    check_variables(plan)
    assert expand("${ZSR_HERE}/a") == f"{folder}/a"


@pytest.mark.slow
def test_from_files_to_the_report(mini, project, folder, tmp_path, monkeypatch):
    """Learned on drawn images and given vectors, side by side; cells need neither of the files any more."""
    names = yaml.safe_load((ROOT / "zsr/data/sets/drawn-source.yaml").read_text(encoding="utf-8"))
    texts = [t.replace("{}", name) for t in names["templates"] for name in names["classes"]]
    rng = torch.Generator().manual_seed(0)
    vectors = torch.randn(len(texts), 8, generator=rng)
    save_file({"vectors": vectors}, tmp_path / "v.safetensors", metadata={"texts": json.dumps(texts)})
    monkeypatch.setenv("ZSR_HERE", str(tmp_path))
    image = learning(folder)["dual"]["image"]
    text = {"vectors": "$ZSR_HERE/v.safetensors", "sha256": file_digest(tmp_path / "v.safetensors")}
    learn = {"learn": {"dataset": "mini-source", "steps": 20, "batch": 64, "warmup": 2}}
    mini["backbones"] = [{"name": "lit", "dual": {"image": image, "text": text, "projection": learn}}]
    mini["finetune"] |= {"images": 64, "batch": 32}
    mini["models"] = [{"name": "clip", "method": "clip"}, {"name": "tecoa", "method": "tecoa"}]
    mini["protocols"] = [mini["protocols"][0] | {"datasets": ["mini-source"], "eps": ["1/255"], "images": 16}]
    mini["protocols"][0]["attacks"] = mini["protocols"][0]["attacks"][:1]
    project.configure(mini)
    project.snakemake(env={"ZSR_HERE": str(tmp_path)})
    place = project.folder / "results"
    record = json.loads((place / "backbones/lit/manifest.json").read_text(encoding="utf-8"))
    assert record["held_out"]["images"] == 25 and 0 <= record["held_out"]["accuracy"] <= 1
    assert len((place / "backbones/lit/train.jsonl").read_text(encoding="utf-8").splitlines()) == 20
    cells = [json.loads(path.read_text(encoding="utf-8")) for path in (place / "eval").rglob("*.json")]
    assert sorted(cell["spec"]["method"] for cell in cells) == ["clip", "tecoa"]
    assert (place / "report.html").exists() and str(tmp_path) not in json.dumps(record["spec"])
    (tmp_path / "v.safetensors").rename(tmp_path / "w.safetensors")
    next((place / "eval").rglob("*.json")).unlink()  # a cell is made again from the backbone's own file
    save_file({"vectors": vectors + 1}, tmp_path / "v.safetensors", metadata={"texts": json.dumps(texts)})
    said = project.snakemake(env={"ZSR_HERE": str(tmp_path)})
    assert "rule join" not in said and "rule evaluate" in said


# -- real weights, where they are -------------------------------------------------------------------------------------

NEEDED = ("ZSR_REAL_DATA", "ZSR_REAL_TEXT")


@pytest.mark.skipif(
    not all(os.environ.get(name) for name in NEEDED), reason=f"{' and '.join(NEEDED)} are not set (docs/validation.md)"
)
def test_zero_shot_accuracy_of_the_real_dual_encoder():
    """59.5 % of CIFAR-10's 2,000 test images was recorded for it at 224 pixels, with five templates."""
    config = yaml.safe_load((ROOT / "config/real.yaml").read_text(encoding="utf-8"))
    dual = config["backbones"][0]["dual"]
    image, projection = (Path(expand(dual[part]["weights"])) for part in ("image", "projection"))
    folder = Path(expand(dual["text"]["sentence"]))
    assert encoder_digest(folder) == dual["text"]["sha256"]
    text, tensors = dual_parts.text_of("sentence", finder(folder), "text")
    vision = {"timm_model_name": dual["image"]["timm"], "image_size": 224, "settings": {}}
    planned = PLANNED | {"vision_cfg": vision, "mean": dual["image"]["mean"], "std": dual["image"]["std"]}
    made = dual_parts.assemble(dual_parts.whole(planned, text), 0, weights.read(image)[0], tensors, image, "text")
    dual_parts.project(made, dual_parts.projection(projection), projection)
    made.clip.eval()
    five = next(entry for entry in config["data"] if entry["name"] == "cifar10-2k")
    about = definition([five], "cifar10-2k", "test")
    table = pd.read_parquet(expand(five["options"]["path"].replace("{split}", "test")))[::4]  # 500 of them
    pictures = [np.asarray(Image.open(io.BytesIO(content)).convert("RGB")) for content in table["image"]]
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    pixels = (pixels - torch.tensor(made.mean).view(3, 1, 1)) / torch.tensor(made.std).view(3, 1, 1)
    head = class_embeddings(made, about.classes, about.templates)
    with torch.no_grad():
        nearest = torch.cat([(made.visual(part) @ head.T).argmax(1) for part in pixels.split(50)])
    assert (nearest.numpy() == table["label"].to_numpy()).mean() == pytest.approx(0.595, abs=0.05)
