"""The clean–robust plane: where a method stands, what it paid, and which trade-offs are equally good.

Lines of equal harmonic mean H = 2xy/(x + y) show trade-offs of equal worth; a wedge that widens from the undefended
model to each method shows what was bought and what it cost.
"""

import itertools
import json
import math

import altair as alt
import numpy as np
import pandas as pd

from zsr.report.choices import Choices, chosen
from zsr.report.figures.theme import INK, baseline, looks

WIDTH, HEIGHT = 640, 400
HIDDEN = 0.35  # of a name's box: with more of it covered the name is not written
KEYS = ["protocol", "backbone", "attack", "eps"]

Frame = tuple[tuple[float, float], tuple[float, float]]  # from and to, across and up


def plane(methods: pd.DataFrame, choices: Choices, encode_model) -> alt.Chart:
    """Mean over zero-shot sets: clean accuracy to the right, robust accuracy up."""
    frame = methods[(methods["scope"] == "zero-shot") & methods["clean"].notna()]
    points = frame[[*KEYS, "model", "method"]].copy()
    for source, target in (("clean", "x"), ("robust", "y")):
        for end in ("", "_lo", "_hi"):
            points[target + end] = (100 * frame[source + end]).round(2)
    points["harmonic"] = (2 * points["x"] * points["y"] / (points["x"] + points["y"]).clip(lower=1e-9)).round(2)
    frames = {name: _frame(part) for name, part in points.groupby("protocol", sort=False)}
    places = [_labels(part, frames[key[0]]) for key, part in points.groupby(KEYS, sort=False)]
    points = pd.concat(places) if places else points.assign(dx=0.0, dy=0.0, align="left", label="")
    x = alt.X(
        "x:Q",
        title="clean accuracy, mean over zero-shot sets (%)",
        scale=_scale(frames, 0),
        axis=alt.Axis(tickCount=8),
    )
    y = alt.Y("y:Q", title="robust accuracy (%)", scale=_scale(frames, 1))
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
    return (left, right), (0.0, top)


def _scale(frames: dict[str, Frame], axis: int) -> alt.Scale:
    """The axis of the chosen protocol."""
    if not frames:
        return alt.Scale(domain=[0, 100], nice=False)
    ends = ({name: frame[axis][end] for name, frame in frames.items()} for end in (0, 1))
    return alt.Scale(domain=[alt.ExprRef(f"({json.dumps(end)})[protocol]") for end in ends], nice=False)


def _iso(frames: dict[str, Frame], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Lines of equal harmonic mean, y = Hx/(2x - H), inside the frame, each labelled at its lower right end."""
    lines, ends = [], []
    for (protocol, (across, up)), level in itertools.product(frames.items(), range(10, 100, 10)):
        if across[1] <= level / 2 + 1e-3:  # the line begins right of the frame
            continue
        xs = np.linspace(max(across[0], level / 2 + 1e-3), across[1], 80)
        ys = level * xs / (2 * xs - level)
        inside = (ys >= up[0]) & (ys <= up[1])
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
    """Offsets in pixels that keep names off each other and off the points: greedy over the places around each.

    A name that finds no free place is left out: legend and pointer still tell it.
    """
    across, up = frame
    px = (part["x"] - across[0]) / (across[1] - across[0]) * WIDTH
    py = HEIGHT - (part["y"] - up[0]) / (up[1] - up[0]) * HEIGHT
    taken = [(a - 6, b - 6, a + 6, b + 6) for a, b in zip(px, py, strict=True)]
    edges = ((part[end] - across[0]) / (across[1] - across[0]) * WIDTH for end in ("x_lo", "x_hi"))
    taken += [(lo, b - 2, hi, b + 2) for lo, hi, b in zip(*edges, py, strict=True)]
    found = []
    for name, a, b in zip(part["model"], px, py, strict=True):
        wide = 6.6 * min(len(name), 40)
        best = None
        for dx, dy, align in (
            (10, 0, "left"), (10, -12, "left"), (10, 12, "left"), (-10, 0, "right"), (-10, -12, "right"),
            (-10, 12, "right"), (0, -17, "center"), (0, 17, "center"), (14, -24, "left"), (14, 24, "left"),
            (-14, -24, "right"), (-14, 24, "right"), (16, -38, "left"), (-16, 38, "right"), (16, 38, "left"),
            (-16, -38, "right"),
        ):  # fmt: skip
            left = a + dx - {"left": 0, "right": wide, "center": wide / 2}[align]
            box = (left, b + dy - 7, left + wide, b + dy + 7)
            cost = sum(_overlap(box, other) for other in taken)
            cost += 1e3 * (box[0] < 0 or box[2] > WIDTH or box[1] < 0 or box[3] > HEIGHT)
            if best is None or cost < best[0]:
                best = (cost, dx, dy, align, box)
        fits = best[0] <= HIDDEN * 14 * wide
        found.append((*best[1:4], name if fits else ""))
        taken += [best[4]] if fits else []
    dx, dy, align, label = zip(*found, strict=True)
    return part.assign(dx=dx, dy=dy, align=align, label=label)


def _overlap(a: tuple, b: tuple) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def legend_of(methods: dict[str, str]) -> dict[str, alt.Scale]:
    """The scales that give each model its colour, shape and dash in every figure."""
    models, look = list(methods), looks(methods)
    return {
        "color": alt.Scale(domain=models, range=[look[m]["colour"] for m in models]),
        "shape": alt.Scale(domain=models, range=[look[m]["shape"] for m in models]),
        "dash": alt.Scale(domain=models, range=[look[m]["dash"] for m in models]),
    }
