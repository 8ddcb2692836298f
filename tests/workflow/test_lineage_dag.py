"""The miniature DAG with models that come from models, a probe, few shots, and sources without labels or classes."""

import copy
import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.numpy import load_file
from support.project import MINI, copy_project
from support.reruns import planned

pytestmark = pytest.mark.slow
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # BatchNorm's


def config() -> dict:
    raw = yaml.safe_load(MINI.read_text(encoding="utf-8"))
    raw["backbones"] = raw["backbones"][:1]
    raw["data"] += [
        {"name": "bare", "reader": "drawn", "options": {"view": "source"}, "splits": {"train": 128}},
        {"name": "unlabelled", "like": "drawn-source", "labelled": False, "splits": {"train": 128}},
        {"name": "digits", "like": "drawn-digits", "splits": {"train": 128}},
    ]
    raw["models"] = [
        {"name": "clip", "method": "clip"},
        {"name": "tecoa", "method": "tecoa", "seeds": [1]},
        {"name": "dual", "method": "dual-teacher", "teacher": "tecoa", "seeds": [1]},
        {"name": "still", "method": "ce", "start": "tecoa", "seeds": [1], "recipe": {"lr": 0}},
        {"name": "mix", "interpolate": {"from": "clip", "to": "tecoa", "alpha": [0, 0.5, 1]}},
        {"name": "probe", "method": "linear-probe"},
        {"name": "fare", "method": "fare", "recipe": {"dataset": "bare"}},
        {"name": "agft", "method": "agft", "recipe": {"dataset": "unlabelled"}},
        {"name": "few", "method": "ce", "recipe": {"dataset": "digits", "shots": 2}},
    ]
    protocol = raw["protocols"][0]
    protocol |= {"datasets": ["mini-source", "handwritten-digits"], "eps": ["4/255"]}
    protocol["attacks"] = protocol["attacks"][:1]
    return raw


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    project = copy_project(tmp_path_factory.mktemp("lineage") / "project")
    project.configure(config())
    project.snakemake()
    return project


def rows(project, model: str, dataset: str = "mini-source") -> pd.DataFrame:
    return pd.read_parquet(project.path(f"results/eval/mini/{model}/{dataset}/pgd/eps-4_255.parquet"))


def weights(project, model: str) -> dict[str, np.ndarray]:
    return load_file(project.path(f"results/models/{model}/weights.safetensors"))


def manifest(project, model: str) -> dict:
    return json.loads(project.path(f"results/models/{model}/manifest.json").read_text(encoding="utf-8"))


def test_a_training_at_rate_zero_on_another_tower_keeps_its_weights(made):
    """Only BatchNorm's statistics move."""
    assert all(name.split(".")[-1] in STATISTICS for name in weights(made, "rn.still.s1"))
    folder = made.path("results/backbones")
    tower, original = (load_file(folder / name / "weights.safetensors") for name in ("rn.tecoa.s1", "rn"))
    moved = {name for name in original if original[name].tobytes() != tower[name].tobytes()}
    assert tower.keys() == original.keys() and moved == {f"visual.{name}" for name in weights(made, "rn.tecoa.s1")}
    about = json.loads((folder / "rn.tecoa.s1" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest(made, "rn.still.s1")["backbone"] == about["digests"]["weights"]
    same = rows(made, "rn.still.s1")["clean"] == rows(made, "rn.tecoa.s1")["clean"]
    assert same.mean() > 0.5


def test_at_its_ends_an_interpolation_gives_the_rows_of_the_ends(made):
    for alpha, end in ((0, "rn.clip"), (100, "rn.tecoa.s1")):
        pd.testing.assert_frame_equal(rows(made, f"rn.mix.a{alpha}.s1"), rows(made, end), check_exact=True)
        ours, theirs = weights(made, f"rn.mix.a{alpha}.s1"), weights(made, end)
        assert ours.keys() == theirs.keys()
        assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)
    between = rows(made, "rn.mix.a50.s1")["clean_margin"]
    assert not any(between.equals(rows(made, end)["clean_margin"]) for end in ("rn.clip", "rn.tecoa.s1"))


def test_the_student_names_its_teacher(made):
    assert manifest(made, "rn.dual.s1")["teacher"] == manifest(made, "rn.tecoa.s1")["digests"]["weights"]
    log = [
        json.loads(line)
        for line in made.path("results/models/rn.dual.s1/train.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert log[0]["clean_teacher"] == pytest.approx(0, abs=0.05)  # the student starts as the original
    assert log[0]["robust_teacher"] > 0 and log[-1]["loss"] > 0


def test_what_has_no_labels_was_trained_without_them(made):
    assert "head" not in manifest(made, "rn.fare.s0") and "head" in manifest(made, "rn.agft.s0")
    for model in ("rn.fare.s0", "rn.agft.s0"):
        assert len(weights(made, model)) > 20


def test_few_shots_are_few(made):
    assert manifest(made, "rn.few.s0")["cost"]["batch"] == 20


def test_tables_and_report_say_what_is_not_zero_shot(made):
    sets = pd.read_csv(made.path("results/tables/sets.csv"))
    probe = sets[sets["method"] == "linear-probe"]
    assert set(probe["model"]) == {"probe (not zero-shot)"} and set(probe["dataset"]) == {"mini-source"}
    assert set(sets[sets["method"] == "interpolation"]["model"]) == {"mix-a0", "mix-a50", "mix-a100"}
    alarms = pd.read_csv(made.path("results/tables/alarms.csv"))
    assert "no mean" not in set(alarms["kind"])
    methods = pd.read_csv(made.path("results/tables/methods.csv"))
    zero_shot = methods[methods["scope"] == "zero-shot"].set_index("model")["clean"]
    assert np.isnan(zero_shot["probe (not zero-shot)"]) and zero_shot.drop("probe (not zero-shot)").notna().all()
    page = made.path("results/report.html").read_text(encoding="utf-8")
    assert "probe (not zero-shot)" in page and "mix-a50" in page
    assert "probe: not zero-shot, it cannot classify handwritten-digits" in made.zsr("status")


def test_a_probes_accuracy_is_that_of_its_layer(made):
    import torch

    from zsr.evaluation import cell
    from zsr.methods.linear_probe import LinearProbe
    from zsr.models.backbone import load_model

    folder = made.path("results")
    opened = load_model(
        folder / "backbones/rn/weights.safetensors",
        json.loads((folder / "backbones/rn/manifest.json").read_text(encoding="utf-8")),
        folder / "models/rn.probe.s0/weights.safetensors",
        manifest(made, "rn.probe.s0"),
        LinearProbe(classes=60).wrap,
    )
    images, labels = (np.load(folder / f"data/mini-source/test/native/{name}.npy") for name in ("images", "labels"))
    found = rows(made, "rn.probe.s0")
    chosen = cell.choose(len(labels), 48, 0)
    x = (torch.from_numpy(images[chosen]).float() / 255 - torch.tensor(opened.mean).view(1, 3, 1, 1)) / opened.std[0]
    read_out = opened.visual.read_out
    with torch.no_grad():
        z = opened.visual.visual(x) / opened.visual.size @ read_out.weight.T + read_out.bias
    assert (z.argmax(1).numpy() == found["clean"].to_numpy()).mean() > 0.97
    assert not any(name.startswith("visual.") for name in weights(made, "rn.probe.s0"))


def test_a_model_that_changes_changes_its_student_its_mixtures_and_what_starts_from_it(made):
    changed = copy.deepcopy(config())
    changed["models"][1]["settings"] = {}
    changed["models"][1]["recipe"] = {"lr": 0.002}
    made.configure(changed)
    try:
        again = planned(made)
    finally:
        made.configure(config())
    models = {path.split("/")[2] for path in again if path.startswith("results/models/")}
    assert models == {"rn.tecoa.s1", "rn.dual.s1", "rn.still.s1", *(f"rn.mix.a{a}.s1" for a in (0, 50, 100))}
    assert {path.split("/")[2] for path in again if path.startswith("results/backbones/")} == {"rn.tecoa.s1"}


def test_a_class_with_too_few_is_one_line_of_the_job(made):
    raw = config()
    raw["models"] = [{"name": "poor", "method": "ce", "recipe": {"dataset": "digits", "shots": 12}}]
    made.configure(raw)
    try:
        text = made.snakemake("results/models/rn.poor.s0/manifest.json", code=1)
    finally:
        made.configure(config())
    assert re.search(r"zsr: finetune\.shots: 12 is more than the \d+ images of class 'digit \d'", text)
