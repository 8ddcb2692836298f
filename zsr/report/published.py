"""Ours beside published: a number of a paper is shown only where it is about the same thing as a cell of ours.

The same thing is: method, backbone, training set, training ε, dataset, ε and family of attack (PGD, CW, AutoAttack).
What differs beside that (steps, the iterate that counts, settings, number of images) is said in words with each pair.
Averages, base and new classes, test-time defences and differences are in the file but are never paired.
resources/published.csv has the numbers, docs/published.md its columns.
"""

import re
from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from pathlib import Path

import pandas as pd

from zsr.registry import ROOT

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
    """Pairs of our cells (zsr.gather.cells) and published numbers, our cells' order; empty if nothing agrees."""
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
        "trained_on": model["trained_on"] or "none",
        "train_eps": model["train_eps"] or "",
        "dataset": cell["dataset"]["name"],
        "eps": cell["eps"],
        "family": family,
        "n": cell["n"],
        "our_clean": round(100 * cell["clean_correct"] / cell["n"], 2),
        "our_robust": round(100 * cell["robust_correct"] / cell["n"], 2),
    }


def step_size(text: object, eps: str) -> Fraction | None:
    """A step size as the config writes it ('eps/4', '2*eps', '1/255', 0.01) as a number; None if it says nothing."""
    found = re.fullmatch(r"\s*(?:([\d.]+)\s*\*\s*)?eps(?:\s*/\s*([\d.]+))?\s*", str(text))
    if found:
        return Fraction(found[1] or 1) * _fraction(eps) / Fraction(found[2] or 1)
    return None if text is None else _fraction(str(text))


def _fraction(text: str) -> Fraction:
    over, _, under = text.replace(" ", "").partition("/")
    return Fraction(over) / Fraction(under or 1)


def _differences(cell: dict, number: dict) -> list[str]:
    """What a reader must know before comparing the two numbers."""
    said = [f"theirs with {number['setting']}"] if number["setting"] else []
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
        if "step 1/255" in theirs and step_size(attack.get("step_size"), cell["eps"]) != Fraction(1, 255):
            said.append(f"step size 1/255 there, {attack.get('step_size')} here")
    if spec.get("verdict") == "any" and number["family"] != "autoattack":
        said.append("the last iterate counts there, any here")
    total = cell["dataset"].get("total")
    if total and cell["n"] < total:
        said.append(f"{cell['n']} of {total} images here")
    if number["kind"] in ("note", "summary", "abstract"):
        said.append("theirs at second hand" if number["kind"] != "abstract" else "theirs from the abstract")
    if number["kind"] == "figure":
        said.append("theirs read from a figure")
    return said
