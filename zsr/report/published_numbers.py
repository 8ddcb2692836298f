"""Ours beside published: a number of a paper is shown only where it is about the same thing as a cell of ours.

The same thing is: method, backbone, training set and shots, training ε, dataset, ε and family of attack (PGD, CW,
AutoAttack). What differs beside that (steps, the iterate that counts, settings, images trained on, number of images) is
said in words with each pair.
Averages, base and new classes, test-time defences and differences are in the file but are never paired.
resources/published.csv has the numbers, docs/published.md its columns.
"""

import math
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pandas as pd

from zsr.epsilon import fraction_of, length
from zsr.registry import ROOT, describe

FILE = ROOT / "resources" / "published.csv"
FAMILIES = {
    "pgd": "pgd",
    "cw": "cw",
    "autoattack": "autoattack",
    "autoattack-papers": "autoattack",
    "autoattack-plus": "autoattack",
}  # our attacks -> the families of the file
PARTS = {
    "autoattack": "APGD-CE, APGD-T, FAB-T, Square",
    "autoattack-papers": "APGD-CE and APGD-DLR",
    "autoattack-plus": "AutoAttack plus",
}
COOP = "coop-"  # our names of the sets with CoOp's split; the file has the sets' own names
KEYS = ["zsr", "backbone", "trained_on", "train_eps", "dataset", "eps", "family"]
COLUMNS = [
    "protocol", "model", "attack", *KEYS, "n", "our_clean", "our_robust", "paper", "arxiv", "source", "kind", "method",
    "their_attack", "clean", "robust", "differs", "mark",
]  # fmt: skip


@cache
def read(path: Path = FILE) -> pd.DataFrame:
    """All published numbers; accuracies in per cent as floats, empty text where a paper says nothing."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column in ("clean", "robust"):
        table[column] = pd.to_numeric(table[column])
    return table


def beside(cells: Iterable[dict], published: pd.DataFrame | None = None) -> pd.DataFrame:
    """Pairs of our cells (`results.collect.cells`) and published numbers, our cells' order; empty if nothing agrees."""
    table = read() if published is None else published
    usable = table[(table.zsr != "") & (table.part == "all") & ~table.dataset.str.startswith("mean")]
    usable = usable[~usable.setting.str.contains("test-time") & ~usable.mark.str.startswith("a difference")]
    groups = dict(tuple(usable.groupby(KEYS, sort=False)))
    rows = []
    for cell in cells:
        ours = _ours(cell)
        if ours is None:
            continue
        theirs = groups.get(tuple(ours[key] for key in KEYS))
        for number in theirs.to_dict("records") if theirs is not None else ():
            same = {
                key: number[key] for key in ("paper", "arxiv", "source", "kind", "method", "clean", "robust", "mark")
            }
            says = "; ".join(_differences(cell, number))
            rows.append({**ours, **same, "their_attack": number["attack"], "differs": says})
    return pd.DataFrame(rows, columns=COLUMNS)


def _ours(cell: dict) -> dict | None:
    """One of our cells in the words of the file; None for what no paper of the file measures."""
    model, attack = cell["model"], cell["attack"]
    family = FAMILIES.get(attack["name"])
    if family is None or cell["threat"] != "linf":
        return None
    return {
        "protocol": cell["protocol"],
        "model": model["id"],
        "attack": attack["label"],
        "zsr": model.get("published_method") or model["method"],
        "backbone": model["origin"],
        "trained_on": _trained_on(model),
        "train_eps": model["train_eps"] or "",
        "dataset": cell["dataset"]["name"].removeprefix(COOP),
        "eps": cell["eps"],
        "family": family,
        "n": cell["n"],
        "our_clean": round(100 * cell["clean_correct"] / cell["n"], 2),
        "our_robust": round(100 * cell["robust_correct"] / cell["n"], 2),
    }


def _trained_on(model: dict) -> str:
    """The training set of one of our models as the file spells it, with the shots: imagenet-16-shot."""
    name = (model["trained_on"] or "none").removeprefix(COOP)
    shots = model["recipe"].get("shots")
    return f"{name}-{shots}-shot" if shots else name


def one_255th(text: float | str | None, eps: str) -> bool:
    """Whether a step size as the config writes it ('eps/4', '1/255', 0.01) is 1/255; None says nothing."""
    return text is not None and math.isclose(length(text, float(fraction_of(eps, "eps"))), 1 / 255)


def _settings(model: dict, number: dict) -> list[str]:
    """Settings of theirs that ours has not, and of ours that are neither the method's defaults nor theirs."""
    mine = {**model["recipe"], **model["settings"]}
    theirs = dict(re.findall(r"(\w+): ([^,]+)", number["setting"]))
    left = [f"{key}: {value}" for key, value in theirs.items() if key not in mine or not _same(mine[key], value)]
    if not theirs and number["setting"]:  # words, and no keys that could be compared
        left = [number["setting"]]
    return ([f"theirs with {', '.join(left)}"] if left else []) + _own(model, theirs)


def _own(model: dict, theirs: dict) -> list[str]:
    """What of ours is not as the method's file has it, where theirs does not say the same."""
    given = model["settings"]
    defaults = describe("methods", model["method"]).settings if given else {}
    changed = {key: value for key, value in given.items() if not _same(value, defaults[key].default)}
    own = [f"{key}: {value}" for key, value in changed.items() if key not in theirs or not _same(value, theirs[key])]
    said = [f"ours with {', '.join(own)}"] if own else []
    if images := model["recipe"].get("images"):
        said.append(f"ours trained on {images} images, {model['recipe']['epochs']:g} epochs")
    return said


def _same(one: object, other: object) -> bool:
    """Whether two values of a setting are one: 0.00001 is 1e-05."""
    numbers = [_number(one), _number(other)]
    return str(one) == str(other) if None in numbers else numbers[0] == numbers[1]


def _number(value: object) -> float | None:
    """The number that a setting is or spells."""
    try:
        return float(value) if isinstance(value, str | int | float) else None
    except ValueError:
        return None


def _differences(cell: dict, number: dict) -> list[str]:
    """What a reader must know before comparing the two numbers."""
    said = _settings(cell["model"], number)
    attack, spec = cell["attack"], cell.get("spec", {})
    theirs = number["attack"]
    if number["family"] == "autoattack":
        mine = PARTS[attack["name"]]
        if attack["name"] != "autoattack-papers" or "APGD-DLR" not in theirs:
            said.append(f"{theirs} there, {mine} here")
    else:
        steps = re.search(r"PGD-(\d+)", theirs) or re.search(r"(\d+) steps", theirs)
        if steps is None:
            said.append(f"{theirs}: number of steps not stated there, {attack.get('steps')} here")
        elif int(steps[1]) != attack.get("steps"):
            said.append(f"{steps[1]} steps there, {attack.get('steps')} here")
        if "step 1/255" in theirs and not one_255th(attack.get("step_size"), cell["eps"]):
            said.append(f"step size 1/255 there, {attack.get('step_size')} here")
    if spec.get("verdict") == "any" and number["family"] != "autoattack":
        said.append("the last iterate counts there, any here")
    if cell["dataset"]["name"].startswith(COOP):
        said.append("CoOp's test split here")
    total = cell["dataset"].get("total")
    if total and cell["n"] < total:
        said.append(f"{cell['n']} of {total} images here")
    if number["kind"] in ("note", "summary", "abstract"):
        said.append("theirs at second hand" if number["kind"] != "abstract" else "theirs from the abstract")
    if number["kind"] == "figure":
        said.append("theirs read from a figure")
    return said
