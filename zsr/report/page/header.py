"""The head of the page: what was measured, in numbers, and the bar of choices."""

from collections.abc import Mapping

import pandas as pd

from zsr.report.choices import TITLES
from zsr.report.escape import text


def bar(options: Mapping[str, list[str]], start: Mapping[str, str]) -> str:
    """A drop-down list for each choice; one with a single option is hidden."""
    parts = []
    for name, label in TITLES.items():
        items = "".join(
            f"<option value='{text(o)}'{' selected' if o == start[name] else ''}>{text(o)}</option>"
            for o in options[name]
        )
        fixed = " class='one'" if len(options[name]) == 1 else ""
        parts.append(f"<label{fixed}>{label} <select name='{name}'>{items}</select></label>")
    return "".join(parts)


def facts(tables: Mapping[str, pd.DataFrame]) -> str:
    """How many models, sets, attacks, cells, verdicts and alarms there are, as list items."""
    cells = tables["cells"]
    real = cells[cells["attack_name"] != "union"]
    alarms = int((tables["alarms"]["severity"] == "alarm").sum())
    facts = [
        (real["model"].nunique(), "model", "models"),
        (real["dataset"].nunique(), "set", "sets"),
        (real["attack"].nunique(), "attack", "attacks"),
        (real["eps"].nunique(), "ε", "ε"),
        (len(real), "cell", "cells"),
        (int(real["n"].sum()), "verdict", "verdicts"),
    ]
    items = [f"<li><b>{count:,}</b> {one if count == 1 else many}</li>" for count, one, many in facts]
    word = "no alarm" if alarms == 0 else f"<b>{alarms:,}</b> alarm{'' if alarms == 1 else 's'}"
    items.append(f"<li class='{'good' if alarms == 0 else 'bad'}'><a href='#alarms'>{word}</a></li>")
    return "".join(items)
