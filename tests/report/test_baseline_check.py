"""A backbone whose clean accuracy is not the recorded one raises an alarm; noise and other prompts do not."""

import pytest

from zsr.models import catalogue
from zsr.report.tables import baseline_check

BASE = "ViT-B-32-quickgelu:openai"


def cell(correct: int, n: int = 10_000, prompts: int = 80, dataset: str = "imagenet", **model: object) -> dict:
    about = {"id": "vit.clip", "name": "clip", "method": "clip", "backbone": "vit", "origin": BASE, **model}
    return {
        "protocol": "p", "model": about, "dataset": {"name": dataset, "templates": prompts}, "n": n,
        "clean_correct": correct, "attack": {"label": "pgd"}, "eps": "1/255",
    }  # fmt: skip


def test_the_recorded_accuracy_raises_nothing():
    assert baseline_check.find([cell(6332), cell(6500), cell(6100)]) == []


def test_wrong_activation_is_seen():
    """QuickGELU weights under GELU lose four points on ImageNet (68.3 to 64.4 with ViT-B/16)."""
    right, wrong = (cell(n, id="b", origin="ViT-B-16-quickgelu:openai") for n in (6834, 6440))
    assert baseline_check.find([right]) == []
    (line,) = baseline_check.find([wrong, wrong])  # once for a model and a set
    assert line.severity == "alarm" and line.dataset == "imagenet"
    assert line.message.startswith("64.4 % clean of ViT-B-16-quickgelu:openai, open_clip record 68.34")


@pytest.mark.parametrize(
    "quiet",
    [
        cell(40, n=100),  # too few
        cell(280, n=500, dataset="drawn-shape"),
        cell(4000, method="tecoa"),
        cell(4000, origin="hf-hub:somebody"),
    ],
)
def test_what_is_not_known_is_left_alone(quiet):
    assert baseline_check.find([quiet]) == []


def test_one_prompt_is_compared_with_the_papers():
    values = baseline_check.single_prompts()[BASE, "cifar10"]
    assert min(values) > 80 and baseline_check.find([cell(round(100 * values[0]), prompts=1, dataset="cifar10")]) == []
    (line,) = baseline_check.find([cell(7000, prompts=1, dataset="cifar10")])
    assert "the papers record" in line.message


def test_the_table_names_what_open_clip_has():
    for backbone, _ in baseline_check.ensembles():
        catalogue.tagged(*backbone.split(":"), "zeroshot.csv")
    assert all(0 < value < 100 for value in baseline_check.ensembles().values())
    assert baseline_check.ensembles()[BASE, "imagenet"] == 63.32
