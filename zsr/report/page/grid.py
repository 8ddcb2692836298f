"""The table methods × sets: its data for every choice, and its HTML for the starting one.

The page holds one table per protocol and backbone, so numbers of two protocols never share a column and models of two
backbones are never ranked together. The HTML is complete without JavaScript. When another attack, ε or view is chosen,
the page's script replaces the contents of the cells by the same rules as `cell` here.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple, NotRequired, TypedDict

import pandas as pd

from zsr.report.escape import text
from zsr.report.page.answer import key
from zsr.report.percent import fixed, percent
from zsr.report.tables.set_kinds import MEANS, SetKey, SetUse, kinds

SCOPES = {"zero-shot": "mean, zero-shot", "unrelated": "mean, no shared word", "all": "mean, all with source"}


class Accuracy(NamedTuple):
    """One accuracy in percent."""

    share: float
    low: float
    high: float
    spread: float | None  # the deviation over seeds
    mark: str  # best, tie or nothing


class Entry(NamedTuple):
    """One cell of a table. The page's script reads it as a list in this order (PLACE and COUNT in page.js)."""

    clean: float | None
    clean_lo: float | None
    clean_hi: float | None
    clean_sd: float | None
    clean_mark: str
    robust: float | None
    robust_lo: float | None
    robust_hi: float | None
    robust_sd: float | None
    robust_mark: str
    counted: int  # images of a set, sets of a mean


class Model(TypedDict):
    """A row of a table."""

    name: str
    eps: str
    seeds: int


class Column(TypedDict):
    """A column of a table: a set or a mean over sets."""

    name: str
    kind: str  # mean, or what the set is: source, shared, zero-shot
    scope: NotRequired[str]  # of a mean
    sets: NotRequired[list[str]]  # of a mean
    chance: NotRequired[float]  # of a set, in percent


Entries = list[list[Entry | None]]  # [model][column]


class Grid(TypedDict):
    """The table of one protocol and backbone."""

    protocol: str
    backbone: str
    models: list[Model]
    columns: list[Column]
    values: dict[str, Entries]  # by the key of attack and ε


FIELDS = [name for name in Entry._fields if name != "counted"]  # columns of `sets` and `methods`


def grids(tables: Mapping[str, pd.DataFrame]) -> list[Grid]:
    """One per protocol and backbone."""
    sets, methods = tables["sets"], tables["methods"]
    made: list[Grid] = []
    uses = sets[["protocol", "dataset", "is_source", "shares_words"]].itertuples(index=False, name=None)
    kind = kinds(SetUse(SetKey(protocol, name), *flags) for protocol, name, *flags in uses)
    for (protocol, backbone), part in sets.groupby(["protocol", "backbone"], sort=False):
        means = methods[(methods["protocol"] == protocol) & (methods["backbone"] == backbone)]
        columns: list[Column] = []
        counts = set()
        for scope, label in SCOPES.items():
            sizes = frozenset(means.loc[means["scope"] == scope, "sets"])
            if sizes and sizes not in counts:  # the same number of sets, the same sets: one column says it
                names = [key.dataset for key, of in kind.items() if key.protocol == protocol and of in MEANS[scope]]
                columns.append({"name": label, "kind": "mean", "scope": scope, "sets": names})
                counts.add(sizes)
        for name, rows in part.groupby("dataset", sort=False):
            chance = round(100 * rows["chance"].iloc[0], 1)
            columns.append({"name": name, "kind": kind[SetKey(protocol, name)], "chance": chance})
        about = part.drop_duplicates("model").set_index("model")
        models: list[Model] = [
            {"name": name, "eps": about.loc[name, "train_eps"], "seeds": int(about.loc[name, "seeds"])}
            for name in about.index
        ]
        made.append(
            {"protocol": protocol, "backbone": backbone, "models": models, "columns": columns,
             "values": _values(part, means, models, columns)}
        )  # fmt: skip
    return made


def empty(models: list[Model], columns: list[Column]) -> Entries:
    """The entries where nothing was measured."""
    return [[None] * len(columns) for _ in models]


def _values(sets: pd.DataFrame, means: pd.DataFrame, models: list[Model], columns: list[Column]) -> dict[str, Entries]:
    """The entries of a table for each attack and ε."""
    rows = {model["name"]: i for i, model in enumerate(models)}
    column_of = {(c["kind"] == "mean", c.get("scope", c["name"])): i for i, c in enumerate(columns)}
    values: dict[str, Entries] = {}
    for frame, mean, name in ((sets, False, "dataset"), (means, True, "scope")):
        extra = frame["n"] if not mean else frame["sets"]
        lines = zip(frame["attack"], frame["eps"], frame["model"], frame[name], extra,
                    frame[FIELDS].itertuples(index=False, name=None), strict=True)  # fmt: skip
        for attack, eps, model, column, count, numbers in lines:
            if (mean, column) in column_of:
                entries = values.setdefault(key(attack, eps), empty(models, columns))
                entries[rows[model]][column_of[mean, column]] = Entry._make([*map(_in_percent, numbers), int(count)])
    return values


def _in_percent(item: float | str) -> float | str | None:
    """A share in percent, None where it is not known; a mark as it is."""
    if isinstance(item, str):
        return item
    return None if math.isnan(item) else percent(item)


def accuracy(entry: Entry | None, quantity: str) -> Accuracy | None:
    """Clean or robust accuracy of a cell; None where nothing was measured, or a mean has none."""
    if entry is None:
        return None
    share, low, high, spread, mark = entry[:5] if quantity == "clean" else entry[5:10]
    return None if share is None or low is None or high is None else Accuracy(share, low, high, spread, mark)


def cell(entry: Entry | None) -> tuple[str, str]:
    """(class, inner HTML) of one cell in the starting view: robust large, clean small."""
    robust = accuracy(entry, "robust")
    clean = accuracy(entry, "clean")
    if robust is None:
        return "", "<span class='main'>–</span>"
    word = {"best": "<span class='vh'> best</span>", "tie": "<span class='vh'> tied</span>", "": ""}[robust.mark]
    spread = f"<span class='sd'>±{fixed(robust.spread)}</span>" if robust.spread is not None else ""
    return robust.mark, (
        f"<span class='main'>{fixed(robust.share)}{spread}{word}</span>"
        f"<span class='ci'>{fixed(robust.low)}–{fixed(robust.high)}</span>"
        f"<span class='sub'><span class='vh'>clean </span>{fixed(clean.share) if clean else '–'}</span>"
    )


def html(grid: Grid, number: int, start: str, caption: str, hidden: bool) -> str:
    """The table of one protocol and backbone; `start` is the key of the starting attack and ε."""
    head = "".join(
        f"<th scope='col' class='{c['kind']}' aria-sort='none'><button type='button' data-column='{i}'>"
        f"{text(c['name'])}<small>{_about(c)}</small></button></th>"
        for i, c in enumerate(grid["columns"])
    )
    values = grid["values"].get(start) or empty(grid["models"], grid["columns"])
    body = "".join(_row(model, i, values[i], grid) for i, model in enumerate(grid["models"]))
    return (
        f"<div class='scroll grid' data-grid='{number}'{' hidden' if hidden else ''} role='region' tabindex='0' "
        f"aria-label='{text(caption)}'><table><caption>{text(caption)}</caption><thead><tr>"
        f"<th scope='col' class='model' aria-sort='none'><button type='button' data-column='-1'>model"
        f"<small>trained with ε</small></button></th>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(model: Model, number: int, values: list[Entry | None], grid: Grid) -> str:
    seeds = f", {model['seeds']} seeds" if model["seeds"] > 1 else ""
    cells = []
    for column, entry in enumerate(values):
        mark, inner = cell(entry)
        mark += " m" if grid["columns"][column]["kind"] == "mean" else ""
        cells.append(f"<td tabindex='-1' class='{mark}' data-c='{column}'>{inner}</td>")
    name = f"{text(model['name'])}<small>{text(model['eps']) or '–'}{seeds}</small>"
    return f"<tr data-r='{number}'><th scope='row' class='model'>{name}</th>{''.join(cells)}</tr>"


def _about(column: Column) -> str:
    words = {"mean": "", "source": "source", "shared": "shares words", "zero-shot": ""}[column["kind"]]
    chance = f"chance\u00a0{column['chance']:.2g}" if "chance" in column else ""
    return ", ".join(filter(None, [words, chance]))
