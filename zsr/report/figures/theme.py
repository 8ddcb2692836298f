"""One look for all figures: colours that the colour-blind tell apart, and text in the colour of the page.

Axes, labels and legends are drawn in `currentColor`: inside the page they follow its light or dark mode, in a file of
their own they are black. Marks use mid-tones with at least 2.4:1 contrast on white and on near-black. A model has the
same colour, dash and shape in every figure. Models that share a colour differ in their dash, so no two are told apart
by colour alone. A model of method `clip`, an undefended one, is grey.
"""

from collections.abc import Mapping

BASELINE = "#888888"
COLOURS = ["#0a7abf", "#e8743b", "#12967f", "#cf3a6d", "#8f6fd1", "#a08a12", "#2ba3c4", "#b5533c", "#6b8f2a", "#b04fb0"]
SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left"]
DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3]]
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
INK = "currentColor"


def baseline(method: str) -> bool:
    """True for the method of undefended models, which arrows start from and which are drawn in grey."""
    return method == "clip"


def looks(methods: Mapping[str, str]) -> dict[str, dict]:
    """model -> its colour, shape and dash, from model -> its method in the order of the config."""
    looks_of: dict[str, dict] = {}
    number = 0  # of the defended models so far
    for model, method in methods.items():
        if baseline(method):
            looks_of[model] = {"colour": BASELINE, "shape": "circle", "dash": DASHES[2]}
            continue
        looks_of[model] = {
            "colour": COLOURS[number % len(COLOURS)],
            "shape": SHAPES[number % len(SHAPES)],
            "dash": DASHES[(number // len(COLOURS)) % len(DASHES)],
        }
        number += 1
    return looks_of


def config() -> dict:
    """The Vega-Lite config of every figure."""
    text = {"labelColor": INK, "titleColor": INK, "labelFont": FONT, "titleFont": FONT, "labelFontSize": 11,
            "titleFontSize": 12, "titleFontWeight": "normal"}  # fmt: skip
    return {
        "background": "transparent",
        "font": FONT,
        "view": {"stroke": None, "continuousWidth": 320, "continuousHeight": 240},
        "axis": text
        | {"domainColor": INK, "domainOpacity": 0.35, "tickColor": INK, "tickOpacity": 0.35, "gridColor": INK,
           "gridOpacity": 0.09, "titlePadding": 8, "labelOpacity": 0.85},
        "legend": text
        | {"orient": "bottom", "columns": 5, "symbolOpacity": 1, "symbolStrokeWidth": 2, "symbolSize": 70,
           "labelLimit": 220, "titleLimit": 220},
        "header": text | {"labelFontSize": 12, "labelFontWeight": 600, "labelLimit": 200},
        "title": {"color": INK, "font": FONT, "fontSize": 13, "fontWeight": 600, "anchor": "start"},
        "text": {"font": FONT, "color": INK, "fontSize": 11},
        "line": {"strokeWidth": 2, "strokeCap": "round"},
        "point": {"size": 70, "filled": True, "opacity": 1},
    }  # fmt: skip
