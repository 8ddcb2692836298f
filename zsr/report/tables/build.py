"""The tables behind the report: cells, sets, methods, fooled, training, paired, alarms.

Shares are fractions in [0, 1]. Row order is the order of the config (first appearance among the cells), so whoever
reads a table keeps it by `unique()`. A mean runs over one list of sets for all models of a protocol and attack; a model
that lacks a set has no mean (and an alarm) instead of a mean over other sets.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from zsr.report.tables import alarms, baseline_check
from zsr.report.tables.cells import Cell, read_cells, unions
from zsr.report.tables.comparisons import Marks, paired
from zsr.report.tables.keys import QUANTITIES, Column, Condition, Labels, Row, Scopes
from zsr.report.tables.set_kinds import MEANS, SetKey, SetUse, kinds
from zsr.report.tables.statistics import deviation, mean_interval, wilson

# what a manifest says of a training: `*_per_image` are passes through the image tower (zsr/training/pass_counter.py)
COSTS = ("seconds", "seconds_per_step", "images_per_second", "peak_memory", "forward_per_image", "backward_per_image",
         "original_per_image")  # fmt: skip


class Mean(NamedTuple):
    """One accuracy of one model, averaged over the sets of one scope."""

    row: Row
    scope: str
    quantity: str


def build_tables(
    summaries: list[dict], rows: Callable[[dict], pd.DataFrame], models: Iterable[dict] = ()
) -> dict[str, pd.DataFrame]:
    """All tables from the cells' summaries, their rows, and the manifests of the models (cost of training)."""
    cells = read_cells(summaries, rows)
    cells += unions(cells)
    labels, scopes = _labels(cells), _scopes(cells)
    pairs = paired(cells, labels, scopes)
    marks = Marks(pairs)
    sets = _sets_table(cells, labels, marks)
    methods = _methods_table(sets, scopes, _spreads(cells, labels, scopes), marks)
    read_outs = {labels[cell.model] for cell in cells if not cell.zero_shot}
    further = itertools.chain(
        alarms.missing_means(sets, scopes, incomplete=read_outs),
        alarms.wrong_means(sets, methods, scopes),
        baseline_check.find(summaries),
    )
    return {
        "cells": _cells_table(cells, labels),
        "sets": sets,
        "methods": methods,
        "paired": pairs,
        "fooled": _fooled_table(cells, labels, scopes),
        "training": _training_table(cells, labels, models),
        "alarms": alarms.find(cells, labels, further),
    }


def _labels(cells: list[Cell]) -> Labels:
    """The name of each model in the report: the config's name, with the training ε where one name has several."""
    variants: dict[tuple, set[str]] = defaultdict(set)
    models = dict.fromkeys(cell.model for cell in cells)
    for model in models:
        variants[model.protocol, model.backbone, model.name].add(model.train_eps)
    return {
        model: model.name
        if len(variants[model.protocol, model.backbone, model.name]) == 1
        else f"{model.name} ({model.train_eps or 'no ε'})"
        for model in models
    }


def _scopes(cells: list[Cell]) -> Scopes:
    """The sets that each mean runs over."""
    uses = (SetUse(SetKey(c.protocol, c.dataset), c.is_source, c.shares_words) for c in cells)
    kind = kinds(uses)
    scopes: Scopes = {}
    for cell in cells:
        for condition in (cell.condition, Condition.clean(cell.protocol)):
            lists = scopes.setdefault(condition, {scope: [] for scope in MEANS})
            for scope, names in lists.items():
                if kind[SetKey(cell.protocol, cell.dataset)] in MEANS[scope] and cell.dataset not in names:
                    names.append(cell.dataset)
    return scopes


def _cells_table(cells: list[Cell], labels: Labels) -> pd.DataFrame:
    """Tidy: one line per model, seed, set, attack and ε."""
    lines = []
    for c in cells:
        n, clean, robust = len(c.robust), float(c.right.mean()), float(c.robust.mean())
        (clean_lo, clean_hi), (robust_lo, robust_hi) = wilson(clean, n), wilson(robust, n)
        lines.append(
            {"protocol": c.protocol, "backbone": c.backbone, "model": labels[c.model], "name": c.name, "id": c.id,
             "method": c.method, "train_eps": c.train_eps, "seed": c.seed, "dataset": c.dataset,
             "is_source": c.is_source, "shares_words": c.shares_words, "classes": c.classes, "chance": c.chance,
             "attack": c.attack, "attack_name": c.attack_name, "threat": c.threat, "eps": c.eps, "n": n,
             "clean": clean, "clean_lo": clean_lo, "clean_hi": clean_hi,
             "robust": robust, "robust_lo": robust_lo, "robust_hi": robust_hi,
             "seconds": c.seconds, "passes": c.forward + c.backward, "forward": c.forward, "backward": c.backward,
             "follows": c.follows, "spec_hash": c.spec_hash}
        )  # fmt: skip
    return pd.DataFrame(lines)


def _sets_table(cells: list[Cell], labels: Labels, marks: Marks) -> pd.DataFrame:
    """One line per model (seeds averaged), set, attack and ε, with the best and its ties marked."""
    groups: dict[tuple, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.model, cell.dataset, cell.attack, cell.eps].append(cell)
    lines = []
    for seeds in groups.values():
        first, n = seeds[0], min(len(c.robust) for c in seeds)
        line = {"protocol": first.protocol, "backbone": first.backbone, "model": labels[first.model],
                "method": first.method, "train_eps": first.train_eps, "seeds": len(seeds), "dataset": first.dataset,
                "is_source": first.is_source, "shares_words": first.shares_words, "chance": first.chance,
                "attack": first.attack, "attack_name": first.attack_name, "eps": first.eps, "n": n}  # fmt: skip
        for quantity in QUANTITIES:
            shares = [float(c.correct(quantity).mean()) for c in seeds]
            mean = float(np.mean(shares))
            line |= _accuracy(quantity, mean, wilson(mean, n), deviation(shares))
        lines.append(line)
    frame = pd.DataFrame(lines)
    _write_marks(frame, marks, "set")
    return frame


def _methods_table(sets: pd.DataFrame, scopes: Scopes, spreads: dict[Mean, float], marks: Marks) -> pd.DataFrame:
    """Means over sets: one line per model, attack, ε and scope."""
    lines = []
    for key, part in sets.groupby(list(Row._fields), sort=False):
        row = Row(*key)
        by_set = part.set_index("dataset")
        about = by_set.iloc[0][["method", "train_eps", "seeds", "attack_name"]].to_dict()
        for scope, names in scopes[row.condition].items():
            if not names:
                continue
            line = row._asdict() | about | {"scope": scope, "sets": len(names)}
            for quantity in QUANTITIES:
                mean, interval = _mean_over_sets(by_set, names, quantity)
                line |= _accuracy(quantity, mean, interval, spreads.get(Mean(row, scope, quantity), math.nan))
            lines.append(line)
    frame = pd.DataFrame(lines)
    for scope in MEANS:
        _write_marks(frame, marks, scope)
    return frame


def _mean_over_sets(by_set: pd.DataFrame, names: list[str], quantity: str) -> tuple[float, tuple[float, float]]:
    """The mean and its interval; NaN where a set is missing."""
    if not all(name in by_set.index for name in names):
        return math.nan, (math.nan, math.nan)
    shares, counts = by_set.loc[names, quantity].tolist(), by_set.loc[names, "n"].tolist()
    return float(np.mean(shares)), mean_interval(shares, counts)


def _accuracy(quantity: str, mean: float, interval: tuple[float, float], spread: float) -> dict:
    """The columns of one accuracy: share, interval, deviation over seeds, and a mark that is written later."""
    lo, hi = interval
    return {
        quantity: mean,
        f"{quantity}_lo": lo,
        f"{quantity}_hi": hi,
        f"{quantity}_sd": spread,
        f"{quantity}_mark": "",
    }


def _spreads(cells: list[Cell], labels: Labels, scopes: Scopes) -> dict[Mean, float]:
    """The standard deviation over seeds of each mean over sets."""
    rows: dict[Row, dict[int, dict[str, Cell]]] = defaultdict(lambda: defaultdict(dict))
    for cell in cells:
        rows[cell.row(labels)][cell.seed][cell.dataset] = cell
    spreads = {}
    for row, seeds in rows.items():
        for scope, names in scopes[row.condition].items():
            whole = [by_set for by_set in seeds.values() if names and all(name in by_set for name in names)]
            for quantity in QUANTITIES:
                means = [float(np.mean([by_set[name].correct(quantity).mean() for name in names])) for by_set in whole]
                spreads[Mean(row, scope, quantity)] = deviation(means)
    return spreads


def _write_marks(frame: pd.DataFrame, marks: Marks, scope: str) -> None:
    """Write 'best' and 'tie' into clean_mark and robust_mark of the lines of one scope ('set': of single sets)."""
    lines = frame if scope == "set" else frame[frame["scope"] == scope]
    by = ["protocol", "backbone", "attack", "eps", *(["dataset"] if scope == "set" else [])]
    for key, part in lines.groupby(by, sort=False):
        protocol, backbone, attack, eps, *rest = key
        dataset = rest[0] if rest else ""
        for quantity in QUANTITIES:
            condition = Condition(protocol, attack, eps) if quantity == "robust" else Condition.clean(protocol)
            column = Column(protocol, backbone, quantity, condition.attack, condition.eps, scope, dataset)
            shares = dict(zip(part["model"], part[quantity], strict=True))
            edges = zip(part[f"{quantity}_lo"], part[f"{quantity}_hi"], strict=True)
            bounds = dict(zip(part["model"], edges, strict=True))
            marked = marks.mark(column, shares, bounds)
            frame.loc[part.index, f"{quantity}_mark"] = [marked.get(model, "") for model in part["model"]]


def _fooled_table(cells: list[Cell], labels: Labels, scopes: Scopes) -> pd.DataFrame:
    """Share of images still robust after each step, over seeds and zero-shot sets; no line if a set is missing."""
    rows: dict[Row, list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.steps > 0 and cell.dataset in scopes[cell.condition]["zero-shot"]:
            rows[cell.row(labels)].append(cell)
    lines = []
    for row, members in rows.items():
        if {c.dataset for c in members} != set(scopes[row.condition]["zero-shot"]):
            continue
        last = max(max(c.steps, int(c.step.max())) for c in members)
        for step in sorted({*range(min(last, 12) + 1), *np.geomspace(1, max(last, 1), 24).astype(int).tolist(), last}):
            robust = float(np.mean([(c.robust | (c.step > step)).mean() for c in members]))
            lines.append((*row, step, robust))
    return pd.DataFrame(lines, columns=[*Row._fields, "step", "robust"])


def _training_table(cells: list[Cell], labels: Labels, models: Iterable[dict]) -> pd.DataFrame:
    """What each model cost: one line per model and seed; NaN where its manifest does not say."""
    manifests = {str(model["id"]): model for model in models}
    lines = []
    for c in {c.id: c for c in cells}.values():
        manifest = manifests.get(c.id, {})
        line = {"id": c.id, "backbone": c.backbone, "model": labels[c.model], "method": c.method, "seed": c.seed}
        for name in COSTS:
            cost = manifest.get(name)
            line[name] = math.nan if cost is None else float(cost)
        lines.append(line)
    return pd.DataFrame(lines)
