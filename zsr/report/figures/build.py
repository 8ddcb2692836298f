"""The figures, as Altair charts: plane, epsilon, heatmap, steps, training, cost.

Every chart is complete by itself (data inside, choices as drop-downs) and works offline. All six always exist: one
without data says so in words.
"""

import json
import math
from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd

from zsr.report.choices import Choices, choices, chosen
from zsr.report.eps_order import value
from zsr.report.figures import vega
from zsr.report.figures.plane import legend_of, plane
from zsr.report.figures.theme import INK, config
from zsr.report.percent import shown

NAMES = ("plane", "epsilon", "heatmap", "steps", "training", "cost")
MEAN = "mean, zero-shot"
METRICS = 6  # of a training log: the loss first, what the method adds, then what every log has
POINTS = 150  # of a training curve: more cannot be seen


class Figures:
    """The tables, and what all charts share."""

    def __init__(self, tables: Mapping[str, pd.DataFrame], logs: Mapping[str, Sequence[dict]]) -> None:
        self.tables, self.logs = tables, logs
        self.choices: Choices = choices(tables["cells"])
        self.methods = dict(zip(tables["cells"]["model"], tables["cells"]["method"], strict=True))
        self.made = tables["cells"].groupby("backbone", sort=False)["model"].unique().map(list).to_dict()
        self.models = list(self.methods)
        self.sets = list(dict.fromkeys(tables["cells"]["dataset"]))

    def look(self) -> dict[str, object]:
        """Encodings of the model; one legend for colour, shape and dash, of the models on the chosen backbone."""
        scales = legend_of(self.methods)
        legend = alt.Legend(title=None, symbolLimit=0, values=alt.expr(f"{json.dumps(self.made)}[backbone]"))
        return {
            "color": alt.Color("model:N", scale=scales["color"], legend=legend, sort=None),
            "shape": alt.Shape("model:N", scale=scales["shape"], legend=legend, sort=None),
            "dash": alt.StrokeDash("model:N", scale=scales["dash"], legend=legend, sort=None),
        }

    def plane(self) -> vega.Chart:
        return plane(self.tables["methods"], self.choices, self.look)

    def epsilon(self) -> vega.Chart:
        """Accuracy against ε, one panel per set, the clean images at ε = 0."""
        keys = ["protocol", "backbone", "attack"]
        parts = [self._with_mean("robust"), self._with_mean("clean").drop_duplicates([*keys, "model", "set"])]
        parts[1]["eps"] = "0"
        frame = pd.concat(parts, ignore_index=True)
        scaled = all(str(e) == "0" or str(e).endswith("/255") for e in frame["eps"])
        frame["size"] = [round(value(e) * (255 if scaled else 1), 4) for e in frame["eps"]]
        frame = frame.drop(columns="eps")
        look = self.look()
        x = alt.X("size:Q", title="ε in 1/255" if scaled else "ε", axis=alt.Axis(tickCount=4, format="~g"))
        y = alt.Y("share:Q", title="accuracy (%)", scale=alt.Scale(domain=[0, 100]), axis=alt.Axis(tickCount=4))
        base = alt.Chart().transform_filter(chosen(keys))
        tips = ["model:N", alt.Tooltip("size:Q", title="ε"), alt.Tooltip("share:Q", title="accuracy %"),
                alt.Tooltip("lo:Q", title="from"), alt.Tooltip("hi:Q", title="to")]  # fmt: skip
        chart = alt.layer(
            base.mark_rule(opacity=0.4).encode(x=x, y=alt.Y("lo:Q", title=""), y2="hi:Q", color=look["color"]),
            base.mark_line().encode(x=x, y=y, color=look["color"], strokeDash=look["dash"]),
            base.mark_point(size=32).encode(x=x, y=y, color=look["color"], shape=look["shape"], tooltip=tips),
            data=frame,
        ).properties(width=170, height=130)
        order = [MEAN, *self.sets]
        faceted = chart.facet(alt.Facet("set:N", title=None, sort=order), columns=4)
        return faceted.resolve_axis(x="independent").add_params(*self.choices.parameters(keys))

    def heatmap(self) -> vega.Chart:
        """Method × set."""
        keys = ["protocol", "backbone", "attack", "eps"]
        frame = pd.concat([self._with_mean("robust").assign(quantity="robust"),
                           self._with_mean("clean").assign(quantity="clean")])  # fmt: skip
        quantity = alt.param(name="quantity", value="robust",
                             bind=alt.binding_radio(options=["robust", "clean"], name="Accuracy "))  # fmt: skip
        base = alt.Chart(frame).transform_filter(chosen([*keys, "quantity"])).encode(
            x=alt.X("set:N", sort=[MEAN, *self.sets], title=None,
                    axis=alt.Axis(labelAngle=-40, orient="top", ticks=False, domain=False, labelLimit=130)),
            y=alt.Y("model:N", sort=self.models, title=None,
                    axis=alt.Axis(ticks=False, domain=False, labelLimit=150)),
        )  # fmt: skip
        boxes = base.mark_rect(cornerRadius=3, stroke="transparent", strokeWidth=2).encode(
            color=alt.Color("share:Q", scale=alt.Scale(scheme="cividis", domainMin=0), legend=None),
            tooltip=["model:N", "set:N", alt.Tooltip("share:Q", title="accuracy %"),
                     alt.Tooltip("lo:Q", title="from"), alt.Tooltip("hi:Q", title="to")],
        )  # fmt: skip
        text = base.mark_text(fontSize=10.5).encode(
            text=alt.Text("share:Q", format=".0f"),
            color=alt.condition("datum.share > 0.55 * domain('color')[1]", alt.value("#111"), alt.value("#fff")),
        )
        least = 34 * (len(self.sets) + 1)
        room = {"left": 5, "top": 5, "right": 70, "bottom": 5}  # the last name leans out of the plot
        size = {"width": 640, "height": alt.Step(26), "padding": room}
        return (boxes + text).properties(**size, usermeta={"least": least}).add_params(
            quantity, *self.choices.parameters(keys)
        )  # fmt: skip

    def steps(self) -> vega.Chart:
        """How many images are still robust after each step; a curve that still falls means an unfinished attack."""
        keys = ["protocol", "backbone", "eps"]
        frame = self.tables["fooled"].copy()
        if frame.empty:
            return _words("no attack of these results counts its steps")
        frame["robust"] = (100 * frame["robust"]).round(2)
        look = self.look()
        chart = alt.Chart(frame).transform_filter(chosen(keys)).mark_line(interpolate="step-after").encode(
            x=alt.X("step:Q", title="step (0: wrong without an attack)", scale=alt.Scale(type="symlog", nice=False),
                    axis=alt.Axis(tickCount=6, format="d")),
            y=alt.Y("robust:Q", title="still robust (%)", scale=alt.Scale(domain=[0, 100])),
            color=look["color"], strokeDash=look["dash"],
            tooltip=["model:N", "attack:N", "step:Q", alt.Tooltip("robust:Q", title="robust %")],
        ).properties(width=300, height=210)  # fmt: skip
        faceted = chart.facet(alt.Facet("attack:N", title=None, sort=self.choices.options["attack"]), columns=2)
        return faceted.resolve_scale(x="independent").add_params(*self.choices.parameters(keys))

    def training(self) -> vega.Chart:
        """What the logs recorded, thinned to what can be seen."""
        names = self.tables["training"].set_index("id")
        lines = []
        for identity, records in self.logs.items():
            if identity in names.index and records:
                about = names.loc[identity]
                for metric in _metrics(records):
                    for step, mean in _thinned(records, metric):
                        lines.append({"backbone": about["backbone"], "model": about["model"],
                                      "seed": int(about["seed"]), "metric": metric, "step": step,
                                      "value": mean})  # fmt: skip
        if not lines:
            return _words("no model of these results was trained")
        frame, look = pd.DataFrame(lines), self.look()
        metrics = sorted(frame["metric"].unique(), key=_rank)
        chart = alt.Chart(frame).transform_filter(chosen(["backbone"])).mark_line(strokeWidth=1.6).encode(
            x=alt.X("step:Q", title="step", axis=alt.Axis(tickCount=5, format="~s")),
            y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5, format="~g")),
            color=look["color"], strokeDash=look["dash"], detail="seed:N",
            tooltip=["model:N", "seed:N", "step:Q", alt.Tooltip("value:Q", format=".4g")],
        ).properties(width=300, height=180)  # fmt: skip
        faceted = chart.facet(alt.Facet("metric:N", title=None, sort=metrics), columns=3 if len(metrics) == 3 else 2)
        return faceted.resolve_scale(x="independent", y="independent").add_params(
            *self.choices.parameters(["backbone"])
        )

    def cost(self) -> vega.Chart:
        """What a model's training cost against what it resists; seeds averaged."""
        keys = ["protocol", "backbone", "attack", "eps"]
        spent = self.tables["training"].groupby(["backbone", "model"], sort=False)[["seconds", "peak_memory"]].mean()
        spent = spent.assign(peak_memory=spent["peak_memory"] / 2**20).rename(
            columns={"seconds": "training time (s)", "peak_memory": "peak memory (MiB)"}
        )
        spent = spent.reset_index().melt(["backbone", "model"], var_name="cost", value_name="spent").dropna()
        means = self.tables["methods"].query("scope == 'zero-shot'").dropna(subset=["robust"])
        frame = means[[*keys, "model", "robust", "clean"]].merge(spent, on=["backbone", "model"])
        if frame.empty:
            return _words("no manifest says what training cost")
        frame = frame.assign(robust=(100 * frame["robust"]).round(2), clean=(100 * frame["clean"]).round(2),
                             spent=frame["spent"].round(2))  # fmt: skip
        look = self.look()
        base = alt.Chart(frame).transform_filter(chosen(keys)).encode(
            x=alt.X("spent:Q", title=None, scale=alt.Scale(zero=True, nice=True), axis=alt.Axis(tickCount=5)),
            y=alt.Y("robust:Q", title="robust accuracy (%)", scale=alt.Scale(zero=True)),
        )  # fmt: skip
        points = base.mark_point(size=95).encode(
            color=look["color"], shape=look["shape"],
            tooltip=["model:N", "cost:N", "spent:Q", alt.Tooltip("robust:Q", title="robust %"),
                     alt.Tooltip("clean:Q", title="clean %")],
        )  # fmt: skip
        chart = points.properties(width=300, height=240)
        return chart.facet(alt.Facet("cost:N", title=None, sort="descending"), columns=2).resolve_scale(
            x="independent"
        ).add_params(*self.choices.parameters(keys))  # fmt: skip

    def _with_mean(self, quantity: str) -> pd.DataFrame:
        """Per set and, first, the mean over zero-shot sets: one accuracy in percent with its interval."""
        columns = ["protocol", "backbone", "model", "attack", "eps"]
        parts = []
        means = self.tables["methods"].query("scope == 'zero-shot'")
        for frame, name in ((means, None), (self.tables["sets"], "dataset")):
            part = frame[columns].copy()
            part["set"] = MEAN if name is None else frame[name]
            for end, target in (("", "share"), ("_lo", "lo"), ("_hi", "hi")):
                part[target] = frame[quantity + end].map(shown, na_action="ignore")
            parts.append(part.dropna(subset=["share"]))
        return pd.concat(parts, ignore_index=True)


def build_figures(tables: Mapping[str, pd.DataFrame], logs: Mapping[str, Sequence[dict]]) -> dict[str, vega.Chart]:
    """All figures; `logs` maps a model's id to the records of its train.jsonl."""
    figures = Figures(tables, logs)
    return {name: getattr(figures, name)().configure(**config()) for name in NAMES}


def _words(text: str) -> vega.Chart:
    data = pd.DataFrame({"text": [text]})
    return (
        alt.Chart(data)
        .mark_text(fontSize=13, opacity=0.7, fill=INK)
        .encode(text="text:N")
        .properties(width=300, height=40)
    )


def _metrics(records: Sequence[dict]) -> list[str]:
    """The metrics of a log that are drawn."""
    names = {key for record in records for key, item in record.items() if key != "step" and _number(item)}
    return sorted(names, key=_rank)[:METRICS]


def _rank(metric: str) -> tuple[int, str]:
    return {"loss": 0, "grad_norm": 2, "lr": 3}.get(metric, 1), metric


def _number(item: object) -> bool:
    return isinstance(item, (int, float)) and not isinstance(item, bool) and math.isfinite(item)


def _thinned(records: Sequence[dict], metric: str) -> list[tuple[float, float]]:
    """Means over at most POINTS equal stretches of a log."""
    pairs = [(r.get("step", i), r[metric]) for i, r in enumerate(records) if _number(r.get(metric))]
    stride = max(1, math.ceil(len(pairs) / POINTS))
    chunks = [pairs[i : i + stride] for i in range(0, len(pairs), stride)]
    return [(float(c[-1][0]), float(f"{sum(v for _, v in c) / len(c):.5g}")) for c in chunks]
