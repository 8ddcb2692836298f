"""The clean–robust plane: each model at its clean and its robust accuracy.

Dashed lines of equal harmonic mean H = 2xy/(x + y) show trade-offs of equal worth. A wedge leads from the undefended
model to each other model: what was gained in robust accuracy, and what was lost in clean accuracy.
"""

import itertools
import json
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import altair as alt
import numpy as np
import pandas as pd

from zsr.report.choices import Choices, chosen
from zsr.report.figures import vega
from zsr.report.figures.theme import INK, baseline, looks

WIDTH, HEIGHT = 640, 400
HIDDEN = 0.35  # of a name's box: with more of it covered the name is not written
KEYS = ["protocol", "backbone", "attack", "eps"]

# offsets from a point, in pixels, and alignments of its name: the first that is free is taken
OFFSETS = (
    (10, 0, "left"), (10, -12, "left"), (10, 12, "left"), (-10, 0, "right"), (-10, -12, "right"),
    (-10, 12, "right"), (0, -17, "center"), (0, 17, "center"), (14, -24, "left"), (14, 24, "left"),
    (-14, -24, "right"), (-14, 24, "right"), (16, -38, "left"), (-16, 38, "right"), (16, 38, "left"),
    (-16, -38, "right"),
)  # fmt: skip


class Frame(NamedTuple):
    """The bounds of the axes of one protocol, in percent."""

    left: float
    right: float
    bottom: float
    top: float


class Box(NamedTuple):
    """A rectangle of the plot, in pixels from its upper left corner."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "Box") -> float:
        """The area that both cover."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, wide) * max(0.0, high)

    @property
    def leaves_plot(self) -> bool:
        return self.left < 0 or self.right > WIDTH or self.top < 0 or self.bottom > HEIGHT


class Label(NamedTuple):
    """Where the name of a model is written: offset from its point, alignment, and what it covers."""

    dx: int
    dy: int
    align: str
    box: Box
    cost: float  # area of the box that is taken already


def plane(methods: pd.DataFrame, choices: Choices, encode_model: Callable[[], dict]) -> vega.Chart:
    """Mean over zero-shot sets: clean accuracy to the right, robust accuracy up."""
    frame = methods[(methods["scope"] == "zero-shot") & methods["clean"].notna()]
    points = frame[[*KEYS, "model", "method"]].copy()
    for source, target in (("clean", "x"), ("robust", "y")):
        for end in ("", "_lo", "_hi"):
            points[target + end] = (100 * frame[source + end]).round(2)
    points["harmonic"] = (2 * points["x"] * points["y"] / (points["x"] + points["y"]).clip(lower=1e-9)).round(2)
    frames = {name: _frame(part) for name, part in points.groupby("protocol", sort=False)}
    labelled = [_labels(part, frames[protocol]) for (protocol, *_), part in points.groupby(KEYS, sort=False)]
    points = pd.concat(labelled) if labelled else points.assign(dx=0.0, dy=0.0, align="left", label="")
    x = alt.X(
        "x:Q",
        title="clean accuracy, mean over zero-shot sets (%)",
        scale=_scale(frames, "left", "right"),
        axis=alt.Axis(tickCount=8),
    )
    y = alt.Y("y:Q", title="robust accuracy (%)", scale=_scale(frames, "bottom", "top"))
    keep = chosen(KEYS)
    model = encode_model()
    base = alt.Chart(points).transform_filter(keep)
    tips = [alt.Tooltip("model:N"), alt.Tooltip("x:Q", title="clean %"), alt.Tooltip("y:Q", title="robust %"),
            alt.Tooltip("y_lo:Q", title="robust from"), alt.Tooltip("y_hi:Q", title="robust to"),
            alt.Tooltip("harmonic:Q", title="harmonic mean")]  # fmt: skip
    layers = [
        *_iso(frames, x, y),
        alt.Chart(_wedges(points)).transform_filter(keep).mark_trail(opacity=0.3).encode(
            x=x, y=y, color=model["color"], detail="model:N",
            size=alt.Size("size:Q", scale=alt.Scale(domain=[0, 1], range=[0.5, 9]), legend=None),
        ),
        base.mark_rule(opacity=0.55, strokeWidth=1.2).encode(x=alt.X("x_lo:Q"), x2="x_hi:Q", y=y, color=model["color"]),
        base.mark_rule(opacity=0.55, strokeWidth=1.2).encode(x=x, y=alt.Y("y_lo:Q"), y2="y_hi:Q", color=model["color"]),
        base.mark_point(size=95).encode(x=x, y=y, color=model["color"], shape=model["shape"], tooltip=tips),
        base.mark_text(
            dx=alt.expr("datum.dx"), dy=alt.expr("datum.dy"), align=alt.expr("datum.align"), fontSize=12,
            baseline="middle", fill=INK,
        ).encode(x=x, y=y, text="label:N"),
    ]  # fmt: skip
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT).add_params(*choices.parameters(KEYS))


def _frame(points: pd.DataFrame) -> Frame:
    """Round bounds around all points of a protocol: axes stand still while one looks through its attacks and ε."""
    left = max(0.0, 5 * math.floor((points["x_lo"].min() - 2) / 5))
    right, top = (min(100.0, 5 * math.ceil((points[end].max() + 4) / 5)) for end in ("x_hi", "y_hi"))
    return Frame(left, right, 0.0, top)


def _scale(frames: dict[str, Frame], *edges: str) -> alt.Scale:
    """The axis between two edges of the frame of the chosen protocol."""
    if not frames:
        return alt.Scale(domain=[0, 100], nice=False)
    ends = ({protocol: getattr(frame, edge) for protocol, frame in frames.items()} for edge in edges)
    return alt.Scale(domain=[alt.ExprRef(f"({json.dumps(end)})[protocol]") for end in ends], nice=False)


def _iso(frames: dict[str, Frame], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Lines of equal harmonic mean, y = Hx/(2x - H), inside the frame, each labelled at its lower right end."""
    lines, ends = [], []
    for (protocol, frame), level in itertools.product(frames.items(), range(10, 100, 10)):
        if frame.right <= level / 2 + 1e-3:  # the line begins right of the frame
            continue
        xs = np.linspace(max(frame.left, level / 2 + 1e-3), frame.right, 80)
        ys = level * xs / (2 * xs - level)
        inside = (ys >= frame.bottom) & (ys <= frame.top)
        if inside.sum() < 2:
            continue
        about = {"protocol": protocol, "level": level}
        path = [about | {"x": round(a, 2), "y": round(b, 2)} for a, b in zip(xs[inside], ys[inside], strict=True)]
        lines += path
        ends.append(path[-1] | {"text": f"H {level}"})
    columns = ["protocol", "level", "x", "y"]
    line = alt.Chart(pd.DataFrame(lines, columns=columns)).transform_filter(chosen(["protocol"])).mark_line(
        color=INK, opacity=0.22, strokeWidth=1, strokeDash=[3, 4]
    )  # fmt: skip
    text = alt.Chart(pd.DataFrame(ends, columns=[*columns, "text"])).transform_filter(chosen(["protocol"])).mark_text(
        align="right", dx=-4, dy=-7, fontSize=10, opacity=0.55, fill=INK
    )  # fmt: skip
    return [line.encode(x=x, y=y, detail="level:N"), text.encode(x=x, y=y, text="text:N")]


def _wedges(points: pd.DataFrame) -> pd.DataFrame:
    """From the undefended model of the same backbone (width 0) to each other model (width 1)."""
    lines = []
    for _, part in points.groupby(KEYS, sort=False):
        plain = part["method"].map(baseline).astype(bool)
        if not plain.any():
            continue
        start = part[plain]
        for _, row in part[~plain].iterrows():
            for at, size in ((start.iloc[0], 0), (row, 1)):
                lines.append({key: row[key] for key in [*KEYS, "model"]} | {"x": at["x"], "y": at["y"], "size": size})
    return pd.DataFrame(lines, columns=[*KEYS, "model", "x", "y", "size"])


def _labels(part: pd.DataFrame, frame: Frame) -> pd.DataFrame:
    """Offsets in pixels that keep names off each other and off the points: greedy over `OFFSETS` around each.

    A name that finds no free place is left out: legend and pointer still tell it.
    """
    px = _pixels(part["x"], frame)
    py = HEIGHT - (part["y"] - frame.bottom) / (frame.top - frame.bottom) * HEIGHT
    taken = [Box(x - 6, y - 6, x + 6, y + 6) for x, y in zip(px, py, strict=True)]
    intervals = zip(_pixels(part["x_lo"], frame), _pixels(part["x_hi"], frame), py, strict=True)
    taken += [Box(low, y - 2, high, y + 2) for low, high, y in intervals]
    rows = []
    for name, x, y in zip(part["model"], px, py, strict=True):
        wide = 6.6 * min(len(name), 40)
        best = min(_candidates(x, y, wide, taken), key=lambda label: label.cost)
        fits = best.cost <= HIDDEN * 14 * wide
        rows.append((best.dx, best.dy, best.align, name if fits else ""))
        taken += [best.box] if fits else []
    dx, dy, align, label = zip(*rows, strict=True)
    return part.assign(dx=dx, dy=dy, align=align, label=label)


def _pixels(x: pd.Series, frame: Frame) -> pd.Series:
    return (x - frame.left) / (frame.right - frame.left) * WIDTH


def _candidates(x: float, y: float, wide: float, taken: list[Box]) -> Iterator[Label]:
    """The name of the point (x, y) at each of `OFFSETS`; one that leaves the plot costs more than any overlap."""
    for dx, dy, align in OFFSETS:
        left = x + dx - {"left": 0, "right": wide, "center": wide / 2}[align]
        box = Box(left, y + dy - 7, left + wide, y + dy + 7)
        cost = sum(box.overlap(other) for other in taken) + 1e3 * box.leaves_plot
        yield Label(dx, dy, align, box, cost)


def legend_of(methods: dict[str, str]) -> dict[str, alt.Scale]:
    """The scales that give each model its colour, shape and dash in every figure."""
    models, look = list(methods), looks(methods)
    return {
        "color": alt.Scale(domain=models, range=[look[m]["colour"] for m in models]),
        "shape": alt.Scale(domain=models, range=[look[m]["shape"] for m in models]),
        "dash": alt.Scale(domain=models, range=[look[m]["dash"] for m in models]),
    }
