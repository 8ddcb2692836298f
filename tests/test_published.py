"""Published numbers: the file is consistent, and a pair is shown only where both numbers are about the same thing."""

from decimal import Decimal
from fractions import Fraction

import pandas as pd
import pytest

from zsr import registry
from zsr.datasets import known_datasets
from zsr.errors import ZsrError
from zsr.models import catalogue
from zsr.report.published import FILE, KEYS, beside, read, step_size

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


def test_step_sizes():
    assert step_size("eps/4", "2/255") == Fraction(2, 4 * 255)
    assert step_size("eps", "1/255") == step_size("1/255", "8/255") == Fraction(1, 255)
    assert step_size("2*eps", "1/255") == Fraction(2, 255)
    assert step_size(None, "1/255") is None
    with pytest.raises((ValueError, ZsrError)):
        step_size("epsilon", "1/255")
