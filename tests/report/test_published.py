"""Published numbers: the file is consistent, and a pair is shown only where both numbers are about the same thing."""

from decimal import Decimal

import pandas as pd
import pytest
import yaml

from zsr import registry
from zsr.config.datasets import known_datasets
from zsr.errors import ZsrError
from zsr.models import catalogue
from zsr.plan.plan import Plan
from zsr.report.published_numbers import FILE, KEYS, beside, one_255th, read
from zsr.results import collect

TEXT = pd.read_csv(FILE, dtype=str, keep_default_na=False)


def test_every_number_is_an_accuracy_with_a_source():
    assert len(TEXT) == 3342
    table = read()
    gains = table["mark"].str.startswith("a difference")
    for column in ("clean", "robust"):
        values = table[column].dropna()
        assert values.between(0, 100).all()
    assert (table["clean"].notna() | table["robust"].notna()).all() and gains.sum() == 3
    assert (TEXT["source"] != "").all() and (TEXT["paper"] != "").all()
    assert set(TEXT["kind"]) == {"table", "authors", "figure", "abstract", "note", "summary"}
    assert set(TEXT["family"]) == {"pgd", "cw", "autoattack", "di", "none", ""}
    assert not TEXT.duplicated([c for c in TEXT if c not in ("clean", "robust", "mark")]).any()


def test_names_are_ours():
    backbones = {text for text in TEXT["backbone"] if ":" in text}
    for text in backbones:
        catalogue.tagged(*text.split(":"), "published.csv")
    sets = {name for name in TEXT["dataset"] if not name.startswith("mean")}
    assert not {name for name in sets if name != name.lower() or " " in name}
    methods = set(TEXT["zsr"]) - {""}
    assert {"clip", "tecoa", "pmg-aft", "tga-zsr", "fare"} <= methods & set(registry.names("methods"))
    assert {"tiny-imagenet", "imagenet", "cifar10"} <= sets
    assert known_datasets()


def places(text: str) -> int:
    return max(0, -Decimal(text).as_tuple().exponent)


def test_means_equal_their_entries_or_are_marked():
    """In exact decimals: half a unit of the last printed place of the mean and of its entries is rounding."""
    keys = ["paper", "method", "setting", "trained_on", "train_eps", "backbone", "attack", "eps", "source", "part"]
    checked = 0
    for _, group in TEXT.groupby(keys):
        entries = group[~group["dataset"].str.startswith("mean")]
        for mean in group[group["dataset"].str.match(r"mean-\d+$")].to_dict("records"):
            for column in ("clean", "robust"):
                texts = [text for text in entries[column] if text]
                if not mean[column] or len(texts) != int(mean["dataset"].removeprefix("mean-")):
                    continue
                checked += 1
                found = sum(map(Decimal, texts)) / len(texts)
                rounding = Decimal(10) ** -places(mean[column]) + Decimal(10) ** -max(map(places, texts))
                off = abs(found - Decimal(mean[column])) > rounding / 2
                assert off == (f"{column} average of its" in mean["mark"]), (mean, found)
    assert checked > 200


def cell(**changes: object) -> dict:
    """One of our cells: TeCoA of TinyImageNet on CIFAR-10, as the paper's protocol has it."""
    made = {
        "protocol": "papers",
        "model": {
            "id": "vit.tecoa.s0",
            "method": "tecoa",
            "origin": "ViT-B-32-quickgelu:openai",
            "trained_on": "tiny-imagenet",
            "train_eps": "1/255",
            "settings": {},
            "recipe": {"shots": 0, "images": 0, "epochs": 10.0, "lr": 0.0001},
        },
        "attack": {"name": "pgd", "label": "pgd-100", "steps": 100, "step_size": "1/255"},
        "eps": "1/255",
        "threat": "linf",
        "dataset": {"name": "cifar10", "total": 10000},
        "spec": {"verdict": "last"},
        "n": 10000,
        "clean_correct": 6612,
        "robust_correct": 3750,
    }
    for key, value in changes.items():
        made[key] = {**made[key], **value} if isinstance(value, dict) else value
    return made


def test_the_same_thing_stands_beside_ours():
    found = beside([cell()])
    tga = found[(found.paper == "tga-zsr") & (found.their_attack == "PGD-100 (step 1/255)")]
    printed = TEXT[(TEXT.paper == "tga-zsr") & (TEXT.method == "TeCoA") & (TEXT.dataset == "cifar10")]
    printed = printed[(printed.family == "pgd") & (printed.eps == "1/255") & (printed.trained_on == "tiny-imagenet")]
    assert len(tga) and set(tga.robust) <= set(printed.robust.astype(float))
    assert (tga.our_clean == 66.12).all() and (tga.our_robust == 37.5).all()
    assert (tga.differs == "").all()


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"method": "caw"}},
        {"model": {"origin": "ViT-B-16-quickgelu:openai"}},
        {"model": {"trained_on": "cifar100"}},
        {"model": {"train_eps": "3/255"}},
        {"dataset": {"name": "drawn-digits"}},
        {"eps": "3/255"},
        {"attack": {"name": "square"}},
        {"threat": "l2"},
    ],
)
def test_what_is_not_the_same_is_not_shown(change):
    assert beside([cell(**change)]).empty


def test_what_differs_is_said():
    (says,) = set(
        beside([cell(attack={"steps": 20, "step_size": "eps/4"}, spec={"verdict": "any"}, n=1000)])
        .query("paper == 'tga-zsr' and their_attack == 'PGD-100 (step 1/255)'")
        .differs
    )
    assert says == (
        "100 steps there, 20 here; step size 1/255 there, eps/4 here; the last iterate counts there, any here; "
        "1000 of 10000 images here"
    )
    auto = beside([cell(attack={"name": "autoattack", "label": "aa"})])
    assert auto.differs.str.contains("APGD-CE, APGD-T, FAB-T, Square here").all() and len(auto)


def test_settings_are_said_and_defences_never_paired():
    ours = cell(model={"method": "tga-zsr"}, attack={"name": "autoattack-papers", "label": "aa"})
    found = beside([ours])
    assert "theirs with beta: 0.009" in "; ".join(found.differs)
    table = read()
    assert table["setting"].str.contains("test-time").sum() > 100
    clip = beside([cell(model={"method": "clip", "trained_on": None, "train_eps": None})])
    assert len(clip) and not clip.method.isin(["TTC", "DOC", "HedgeDefense"]).any()


def test_hand_made_table():
    row = dict.fromkeys(TEXT.columns, "") | {
        "paper": "p", "zsr": "tecoa", "backbone": "ViT-B-32-quickgelu:openai", "trained_on": "tiny-imagenet",
        "train_eps": "1/255", "dataset": "cifar10", "part": "all", "eps": "1/255", "family": "pgd", "kind": "note",
        "attack": "PGD", "clean": 1.0, "robust": 2.0,
    }  # fmt: skip
    table = pd.DataFrame([row, row | {"part": "new"}, row | {"dataset": "mean-16"}, row | {"zsr": ""}])
    found = beside([cell()], table)
    assert len(found) == 1 and set(KEYS) <= set(found.columns)
    assert found.differs[0] == "PGD: number of steps not stated there, 100 here; theirs at second hand"


def test_shots_pair_with_rows_of_as_many_shots():
    few = cell(model={"trained_on": "imagenet", "recipe": {"shots": 5}})
    assert set(beside([few]).trained_on) == {"imagenet-5-shot"}
    assert set(beside([cell(model={"trained_on": "imagenet"})]).trained_on) == {"imagenet"}
    assert beside([cell(model={"trained_on": "imagenet", "recipe": {"shots": 7}})]).empty


def test_sets_with_the_split_of_coop_pair_with_the_sets_themselves():
    model = {"method": "fap", "trained_on": "coop-imagenet", "recipe": {"shots": 16}}
    found = beside([cell(model=model, dataset={"name": "coop-dtd"})])
    assert len(found) and set(found.trained_on) == {"imagenet-16-shot"} and set(found.dataset) == {"dtd"}
    assert found.differs.str.contains("CoOp's test split here").all()


def differs(model: dict, setting: str) -> str:
    """What is said beside one row of tga-zsr with this setting."""
    table = read()
    rows = table[(table.zsr == "tga-zsr") & (table.setting == setting) & (table.trained_on == "tiny-imagenet")]
    found = beside([cell(model={"method": "tga-zsr"} | model, eps="1/255")], rows[rows.family == "pgd"])
    (said,) = set(found.differs)
    return said


@pytest.mark.parametrize(
    ("settings", "setting", "said"),
    [
        ({}, "", ""),
        ({"alpha": 0.07}, "", "ours with alpha: 0.07"),
        ({"alpha": 0.07, "beta": 0.05}, "alpha: 0.07, beta: 0.05", ""),
        ({"alpha": 0.07, "beta": 0.04}, "alpha: 0.07, beta: 0.05", "theirs with beta: 0.05; ours with beta: 0.04"),
        ({}, "alpha: 0.07, beta: 0.05", "theirs with alpha: 0.07"),
        ({"map_size": 32}, "distance: cos", "theirs with distance: cos; ours with map_size: 32"),
        ({}, "lr: 0.001", "theirs with lr: 0.001"),
    ],
)
def test_settings_of_both_are_compared(settings, setting, said):
    complete = {"alpha": 0.08, "beta": 0.05, "normalise": "tokens", "map_size": 224} | settings
    found = differs({"settings": complete}, setting).split("; ")
    assert "; ".join(part for part in found if part.startswith(("ours", "theirs with"))) == said


def test_the_rate_of_the_recipe_is_a_setting_and_a_subset_is_said():
    recipe = {"images": 20_000, "epochs": 0.5, "lr": 0.001}
    said = differs({"recipe": recipe}, "lr: 0.001")
    assert "lr" not in said and "ours trained on 20000 images, 0.5 epochs" in said


def test_what_the_plan_says_of_a_model_is_enough(tmp_path):
    """Few shots of the whole way from a config: no job has to run for what is asked to be told apart."""
    plan = Plan(
        yaml.safe_load((registry.ROOT / "config/fewshot.yaml").read_text(encoding="utf-8")) | {"results": str(tmp_path)}
    )
    few = next(job for job in plan.cells if plan.requests[job.record].model.name == "fap")
    told = collect.model(plan, few)
    assert told["recipe"]["shots"] == 16 and told["settings"]["depth"] == 0
    assert set(beside([cell(model=told, dataset={"name": "coop-dtd"})]).trained_on) == {"imagenet-16-shot"}


@pytest.mark.parametrize("text", ["eps", "1/255", "eps*1", "2*eps*0.5", "0.5*2/255", 1 / 255, "1e-2*eps*100"])
def test_a_step_of_one_255th_in_all_its_spellings(text):
    assert one_255th(text, "1/255")


@pytest.mark.parametrize("text", ["eps/4", "2*eps", "eps*0.25", "2*1/255", "1e-2*eps", None, 0.01])
def test_another_step_size_in_all_its_spellings(text):
    assert not one_255th(text, "1/255")
    says = beside([cell(attack={"step_size": text})]).differs
    assert says.str.contains("step size 1/255 there", regex=False).any()


def test_what_is_no_length_is_refused():
    with pytest.raises(ZsrError, match="is no length"):
        one_255th("epsilon", "1/255")
