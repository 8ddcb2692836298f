"""The four choices that every figure shares (protocol, backbone, attack, ε), as Vega-Lite parameters.

In a chart of its own they are drop-down lists under it; the page replaces those by one bar that drives all charts and
the table at once, which is why every chart uses the same names. A choice with a single option is left out of sight.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import altair as alt
import pandas as pd

from zsr.report.eps_order import ordered
from zsr.report.headline import pick

TITLES = {"protocol": "Protocol", "backbone": "Backbone", "attack": "Attack", "eps": "ε"}


@dataclass(frozen=True)
class Choices:
    """Options and starting values."""

    options: dict[str, list[str]]
    start: dict[str, str]

    def parameters(self, names: Iterable[str]) -> list[alt.Parameter]:
        """The parameters of one chart."""
        return [
            alt.param(
                name=name,
                value=self.start[name],
                bind=alt.binding_select(options=self.options[name], name=f"{TITLES[name]} ")
                if len(self.options[name]) > 1
                else alt.Undefined,
            )
            for name in names
        ]


def choices(cells: pd.DataFrame) -> Choices:
    """All options among the cells, starting at the headline of the first protocol, on the backbone with most models."""
    first = cells[cells["protocol"] == cells["protocol"].iloc[0]]
    attack, eps = pick(first)
    models = first.groupby("backbone", sort=False)["model"].nunique()
    options = {name: list(dict.fromkeys(cells[name])) for name in ("protocol", "backbone", "attack")}
    options["eps"] = ordered(cells["eps"])
    start = {"protocol": options["protocol"][0], "backbone": models.idxmax(), "attack": attack, "eps": eps}
    return Choices(options, start)


def chosen(names: Iterable[str]) -> str:
    """The filter expression that keeps the rows of the current choice."""
    return " && ".join(f"datum.{name} === {name}" for name in names)
