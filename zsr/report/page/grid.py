"""The table methods × sets: its data for every choice, and its HTML for the starting one.

The page holds one table per protocol and backbone, so numbers of two protocols never share a column and models of two
backbones are never ranked together. The HTML is complete without JavaScript; the script of the page only replaces the
contents of its cells when another attack, ε or view is chosen, by the same rules as `cell` here.
"""

import math

import pandas as pd

from zsr.report.escape import text
from zsr.report.page.answer import key
from zsr.report.percent import fixed, percent
from zsr.report.tables.set_kinds import MEANS, SetKey, SetUse, kinds

COLUMNS = {"zero-shot": "mean, zero-shot", "unrelated": "mean, no shared word", "all": "mean, all with source"}
FIELDS = ["clean", "clean_lo", "clean_hi", "clean_sd", "clean_mark", "robust", "robust_lo", "robust_hi", "robust_sd",
          "robust_mark"]  # fmt: skip


def grids(tables: dict[str, pd.DataFrame]) -> list[dict]:
    """One per protocol and backbone: {protocol, backbone, models, columns, values: {attack|ε: [model][column]}}."""
    sets, methods = tables["sets"], tables["methods"]
    found = []
    uses = sets[["protocol", "dataset", "is_source", "shares_words"]].itertuples(index=False, name=None)
    kind = kinds(SetUse(SetKey(protocol, name), *flags) for protocol, name, *flags in uses)
    for (protocol, backbone), part in sets.groupby(["protocol", "backbone"], sort=False):
        means = methods[(methods["protocol"] == protocol) & (methods["backbone"] == backbone)]
        columns, counts = [], set()
        for scope, label in COLUMNS.items():
            sizes = frozenset(means.loc[means["scope"] == scope, "sets"])
            if sizes and sizes not in counts:  # the same number of sets, the same sets: one column says it
                names = [key.dataset for key, of in kind.items() if key.protocol == protocol and of in MEANS[scope]]
                columns.append({"name": label, "kind": "mean", "scope": scope, "sets": names})
                counts.add(sizes)
        for name, rows in part.groupby("dataset", sort=False):
            chance = round(100 * rows["chance"].iloc[0], 1)
            columns.append({"name": name, "kind": kind[SetKey(protocol, name)], "chance": chance})
        about = part.drop_duplicates("model").set_index("model")
        models = [{"name": name, "eps": about.loc[name, "train_eps"], "seeds": int(about.loc[name, "seeds"])}
                  for name in about.index]  # fmt: skip
        found.append(
            {"protocol": protocol, "backbone": backbone, "models": models, "columns": columns,
             "values": _values(part, means, models, columns)}
        )  # fmt: skip
    return found


def _values(sets: pd.DataFrame, means: pd.DataFrame, models: list[dict], columns: list[dict]) -> dict[str, list]:
    rows = {model["name"]: i for i, model in enumerate(models)}
    places = {(c["kind"] == "mean", c.get("scope", c["name"])): i for i, c in enumerate(columns)}
    found: dict[str, list] = {}
    for frame, mean, name in ((sets, False, "dataset"), (means, True, "scope")):
        extra = frame["n"] if not mean else frame["sets"]
        lines = zip(frame["attack"], frame["eps"], frame["model"], frame[name], extra,
                    frame[FIELDS].itertuples(index=False, name=None), strict=True)  # fmt: skip
        for attack, eps, model, column, count, numbers in lines:
            if (mean, column) in places:
                grid = found.setdefault(key(attack, eps), [[None] * len(columns) for _ in models])
                grid[rows[model]][places[(mean, column)]] = [*map(_number, numbers), int(count)]
    return found


def _number(item: object) -> object:
    if isinstance(item, str):
        return item
    return None if math.isnan(item) else percent(item)


def cell(entry: list | None) -> tuple[str, str]:
    """(class, inner HTML) of one cell in the starting view: robust large, clean small."""
    if entry is None or entry[5] is None:
        return "", "<span class='main'>–</span>"
    mark = entry[9]
    word = {"best": "<span class='vh'> best</span>", "tie": "<span class='vh'> tied</span>", "": ""}[mark]
    spread = f"<span class='sd'>±{fixed(entry[8])}</span>" if entry[8] is not None else ""
    return mark, (
        f"<span class='main'>{fixed(entry[5])}{spread}{word}</span>"
        f"<span class='ci'>{fixed(entry[6])}–{fixed(entry[7])}</span>"
        f"<span class='sub'><span class='vh'>clean </span>{fixed(entry[0])}</span>"
    )


def html(grid: dict, number: int, start: str, caption: str, hidden: bool) -> str:
    """The table of one protocol and backbone; `start` is the key of the starting attack and ε."""
    head = "".join(
        f"<th scope='col' class='{c['kind']}' aria-sort='none'><button type='button' data-column='{i}'>"
        f"{text(c['name'])}<small>{_about(c)}</small></button></th>"
        for i, c in enumerate(grid["columns"])
    )
    values = grid["values"].get(start) or [[None] * len(grid["columns"]) for _ in grid["models"]]
    body = "".join(_row(model, i, values[i], grid) for i, model in enumerate(grid["models"]))
    return (
        f"<div class='scroll grid' data-grid='{number}'{' hidden' if hidden else ''} role='region' tabindex='0' "
        f"aria-label='{text(caption)}'><table><caption>{text(caption)}</caption><thead><tr>"
        f"<th scope='col' class='model' aria-sort='none'><button type='button' data-column='-1'>model"
        f"<small>trained with ε</small></button></th>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(model: dict, number: int, values: list, grid: dict) -> str:
    seeds = f", {model['seeds']} seeds" if model["seeds"] > 1 else ""
    cells = []
    for column, entry in enumerate(values):
        mark, inner = cell(entry)
        mark += " m" if grid["columns"][column]["kind"] == "mean" else ""
        cells.append(f"<td tabindex='-1' class='{mark}' data-c='{column}'>{inner}</td>")
    name = f"{text(model['name'])}<small>{text(model['eps']) or '–'}{seeds}</small>"
    return f"<tr data-r='{number}'><th scope='row' class='model'>{name}</th>{''.join(cells)}</tr>"


def _about(column: dict) -> str:
    words = {"mean": "", "source": "source", "shared": "shares words", "zero-shot": ""}[column["kind"]]
    chance = f"chance\u00a0{column['chance']:.2g}" if "chance" in column else ""
    return ", ".join(filter(None, [words, chance]))
