"""The tables behind the report: cells, sets, methods, fooled, training, paired, alarms.

Shares are fractions in [0, 1]. Row order is the order of the config (first appearance among the cells), so whoever
reads a table keeps it by `unique()`. A mean runs over one list of sets for all models of a protocol and attack; a model
that lacks a set has no mean (and an alarm) instead of a mean over other sets.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from zsr.report.tables import alarms, baseline_check
from zsr.report.tables.cells import Measured, measure, unions
from zsr.report.tables.comparisons import Marks, paired
from zsr.report.tables.set_kinds import MEANS, kinds
from zsr.report.tables.statistics import deviation, mean_interval, wilson

# what a manifest says of a training: `*_per_image` are passes through the image tower (zsr/training/pass_counter.py)
COSTS = ("seconds", "seconds_per_step", "images_per_second", "peak_memory", "forward_per_image", "backward_per_image",
         "original_per_image")  # fmt: skip


def build(
    cells: list[dict], rows: Callable[[dict], pd.DataFrame], models: Iterable[dict] = ()
) -> dict[str, pd.DataFrame]:
    """All tables from the cells' summaries, their rows, and the manifests of the models (cost of training)."""
    measured = measure(cells, rows)
    measured += unions(measured)
    labels = _labels(measured)
    scopes = _scopes(measured)
    pairs = paired(measured, labels, scopes)
    marks = Marks(pairs)
    sets = _sets(measured, labels, marks)
    methods, missing = _methods(sets, scopes, measured, labels, marks)
    return {
        "cells": _cells(measured, labels),
        "sets": sets,
        "methods": methods,
        "paired": pairs,
        "fooled": _fooled(measured, labels, scopes),
        "training": _training(measured, labels, models),
        "alarms": alarms.find(
            measured, labels, [*missing, *alarms.averages(sets, methods, scopes), *baseline_check.lines(cells)]
        ),
    }


def _labels(cells: list[Measured]) -> dict[tuple, str]:
    """group -> its name in the report: the config's name, with the training ε where one name has several."""
    variants: dict[tuple, set[str]] = defaultdict(set)
    for cell in cells:
        variants[cell.group[:3]].add(cell.train_eps)
    return {
        group: group[2] if len(variants[group[:3]]) == 1 else f"{group[2]} ({group[3] or 'no ε'})"
        for group in dict.fromkeys(cell.group for cell in cells)
    }


def _scopes(cells: list[Measured]) -> dict[tuple, dict[str, list[str]]]:
    """(protocol, attack, eps) -> the lists of sets that means run over; ('', '0') stands for clean accuracy."""
    kind = kinds(((c.protocol, c.dataset), c.is_source, c.shares_words) for c in cells)
    found: dict[tuple, dict[str, list[str]]] = {}
    for cell in cells:
        for key in ((cell.protocol, cell.attack, cell.eps), (cell.protocol, "", "0")):
            lists = found.setdefault(key, {scope: [] for scope in MEANS})
            for scope, names in lists.items():
                if kind[cell.protocol, cell.dataset] in MEANS[scope] and cell.dataset not in names:
                    names.append(cell.dataset)
    return found


def _cells(cells: list[Measured], labels: dict[tuple, str]) -> pd.DataFrame:
    """Tidy: one line per model, seed, set, attack and ε."""
    lines = []
    for c in cells:
        n, clean, robust = len(c.robust), float(c.right.mean()), float(c.robust.mean())
        (clean_lo, clean_hi), (robust_lo, robust_hi) = wilson(clean, n), wilson(robust, n)
        lines.append(
            {"protocol": c.protocol, "backbone": c.backbone, "model": labels[c.group], "name": c.name, "id": c.id,
             "method": c.method, "train_eps": c.train_eps, "seed": c.seed, "dataset": c.dataset,
             "is_source": c.is_source, "shares_words": c.shares_words, "classes": c.classes, "chance": c.chance,
             "attack": c.attack, "attack_name": c.attack_name, "threat": c.threat, "eps": c.eps, "n": n,
             "clean": clean, "clean_lo": clean_lo, "clean_hi": clean_hi,
             "robust": robust, "robust_lo": robust_lo, "robust_hi": robust_hi,
             "seconds": c.seconds, "passes": c.forward + c.backward, "forward": c.forward, "backward": c.backward,
             "follows": c.follows, "spec_hash": c.spec_hash}
        )  # fmt: skip
    return pd.DataFrame(lines)


def _sets(cells: list[Measured], labels: dict[tuple, str], marks: Marks) -> pd.DataFrame:
    """One line per model (seeds averaged), set, attack and ε, with the best and its ties marked."""
    found: dict[tuple, list[Measured]] = defaultdict(list)
    for cell in cells:
        found[(cell.group, cell.dataset, cell.attack, cell.eps)].append(cell)
    lines = []
    for seeds in found.values():
        first, n = seeds[0], min(len(c.robust) for c in seeds)
        line = {"protocol": first.protocol, "backbone": first.backbone, "model": labels[first.group],
                "method": first.method, "train_eps": first.train_eps, "seeds": len(seeds), "dataset": first.dataset,
                "is_source": first.is_source, "shares_words": first.shares_words, "chance": first.chance,
                "attack": first.attack, "attack_name": first.attack_name, "eps": first.eps, "n": n}  # fmt: skip
        for quantity in ("clean", "robust"):
            shares = [float((c.right if quantity == "clean" else c.robust).mean()) for c in seeds]
            lo, hi = wilson(float(np.mean(shares)), n)
            line |= {quantity: float(np.mean(shares)), f"{quantity}_lo": lo, f"{quantity}_hi": hi,
                     f"{quantity}_sd": deviation(shares), f"{quantity}_mark": ""}  # fmt: skip
        lines.append(line)
    frame = pd.DataFrame(lines)
    _mark(frame, marks, "set", ["dataset"])
    return frame


def _methods(sets: pd.DataFrame, scopes: dict, cells: list[Measured], labels: dict[tuple, str], marks: Marks
             ) -> tuple[pd.DataFrame, list[dict]]:  # fmt: skip
    """Means over sets: one line per model, attack, ε and scope; and the means that could not be formed."""
    seeds = _seed_means(cells, labels, scopes)
    probes = {labels[c.group] for c in cells if not c.zero_shot}  # their names say that they cannot have all sets
    lines, missing = [], []
    for key, part in sets.groupby(["protocol", "backbone", "model", "attack", "eps"], sort=False):
        protocol, backbone, model, attack, eps = key
        by_set = part.set_index("dataset")
        for scope, names in scopes[(protocol, attack, eps)].items():
            if not names:
                continue
            line = dict(zip(["protocol", "backbone", "model", "attack", "eps"], key, strict=True))
            line |= by_set.iloc[0][["method", "train_eps", "seeds", "attack_name"]].to_dict()
            line |= {"scope": scope, "sets": len(names)}
            absent = [name for name in names if name not in by_set.index]
            if absent and model not in probes:
                missing.append(
                    {"severity": "alarm", "kind": "no mean", "protocol": protocol, "backbone": backbone,
                     "model": model, "dataset": ", ".join(absent), "attack": attack, "eps": eps,
                     "message": f"the {scope} mean is left out: {len(absent)} of {len(names)} sets are missing"}
                )  # fmt: skip
            for quantity in ("clean", "robust"):
                mean = lo = hi = math.nan
                if not absent:
                    shares, counts = by_set.loc[names, quantity].tolist(), by_set.loc[names, "n"].tolist()
                    mean, (lo, hi) = float(np.mean(shares)), mean_interval(shares, counts)
                spread = seeds.get((*key, scope, quantity), math.nan)
                line |= {quantity: mean, f"{quantity}_lo": lo, f"{quantity}_hi": hi, f"{quantity}_sd": spread,
                         f"{quantity}_mark": ""}  # fmt: skip
            lines.append(line)
    frame = pd.DataFrame(lines)
    for scope in MEANS:
        _mark(frame, marks, scope, [])
    return frame, missing


def _seed_means(cells: list[Measured], labels: dict[tuple, str], scopes: dict) -> dict[tuple, float]:
    """Standard deviation over seeds of each mean over sets."""
    found: dict[tuple, dict[int, dict[str, Measured]]] = defaultdict(lambda: defaultdict(dict))
    for c in cells:
        found[(c.protocol, c.backbone, labels[c.group], c.attack, c.eps)][c.seed][c.dataset] = c
    result = {}
    for key, seeds in found.items():
        for scope, names in scopes[(key[0], key[3], key[4])].items():
            whole = [by_set for by_set in seeds.values() if names and all(name in by_set for name in names)]
            clean = [float(np.mean([by_set[name].right.mean() for name in names])) for by_set in whole]
            robust = [float(np.mean([by_set[name].robust.mean() for name in names])) for by_set in whole]
            result[(*key, scope, "clean")], result[(*key, scope, "robust")] = deviation(clean), deviation(robust)
    return result


def _mark(frame: pd.DataFrame, marks: Marks, scope: str, columns: list[str]) -> None:
    """Write 'best' and 'tie' into clean_mark and robust_mark of the lines of one scope."""
    lines = frame if scope == "set" else frame[frame["scope"] == scope]
    for key, part in lines.groupby(["protocol", "backbone", "attack", "eps", *columns], sort=False):
        protocol, backbone, attack, eps, *dataset = key
        for quantity in ("clean", "robust"):
            where = (attack, eps) if quantity == "robust" else ("", "0")
            shares = dict(zip(part["model"], part[quantity], strict=True))
            edges = zip(part[f"{quantity}_lo"], part[f"{quantity}_hi"], strict=True)
            bounds = dict(zip(part["model"], edges, strict=True))
            found = marks.mark((protocol, backbone, quantity, *where, scope, *(dataset or [""])), shares, bounds)
            frame.loc[part.index, f"{quantity}_mark"] = [found.get(model, "") for model in part["model"]]


def _fooled(cells: list[Measured], labels: dict[tuple, str], scopes: dict) -> pd.DataFrame:
    """Share of images still robust after each step, over seeds and zero-shot sets; no line if a set is missing."""
    found: dict[tuple, list[Measured]] = defaultdict(list)
    for c in cells:
        if c.step is not None and c.steps > 0 and c.dataset in scopes[(c.protocol, c.attack, c.eps)]["zero-shot"]:
            found[(c.protocol, c.backbone, labels[c.group], c.attack, c.eps)].append(c)
    lines = []
    for key, members in found.items():
        protocol, _, _, attack, eps = key
        if {c.dataset for c in members} != set(scopes[(protocol, attack, eps)]["zero-shot"]):
            continue
        last = max(max(c.steps, int(c.step.max())) for c in members)
        for step in sorted({*range(min(last, 12) + 1), *np.geomspace(1, max(last, 1), 24).astype(int).tolist(), last}):
            robust = float(np.mean([(c.robust | (c.step > step)).mean() for c in members]))
            lines.append((*key, step, robust))
    return pd.DataFrame(lines, columns=["protocol", "backbone", "model", "attack", "eps", "step", "robust"])


def _training(cells: list[Measured], labels: dict[tuple, str], models: Iterable[dict]) -> pd.DataFrame:
    """What each model cost: one line per model and seed; NaN where its manifest does not say."""
    manifests = {str(model["id"]): model for model in models}
    lines = []
    for c in {c.id: c for c in cells}.values():
        baseline_check = manifests.get(c.id, {})
        lines.append(
            {"id": c.id, "backbone": c.backbone, "model": labels[c.group], "method": c.method, "seed": c.seed}
            | {
                key: float(baseline_check.get(key) if baseline_check.get(key) is not None else math.nan)
                for key in COSTS
            }
        )
    return pd.DataFrame(lines)
