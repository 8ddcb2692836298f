"""Figures: all exist, hold the numbers of the tables, draw offline, and show a model alike everywhere."""

import itertools
import json
import re

import altair as alt
import pandas as pd
import pytest
from support import synthetic

from zsr.report.choices import choices
from zsr.report.figures import vega
from zsr.report.figures.build import NAMES, POINTS, build_figures
from zsr.report.figures.plane import HEIGHT, WIDTH, Frame, _labels, plane
from zsr.report.figures.theme import BASELINE, COLOURS, DASHES, looks
from zsr.report.tables.build import build_tables


@pytest.fixture(scope="module")
def results():
    return synthetic.make(
        models=["clip", "tecoa", synthetic.HOSTILE, synthetic.RUDE],
        attacks=("pgd-10", "autoattack"),
        backbones=("resnet-tiny", "vit-tiny"),
        seeds=(0, 1),
    )


@pytest.fixture(scope="module")
def built(results):
    return build_tables(results.cells, results.rows, results.models)


@pytest.fixture(scope="module")
def specs(results, built):
    charts = build_figures(built, synthetic.logs(results))
    return {name: vega.spec(chart) for name, chart in charts.items()}


def data(spec):
    return [row for rows in spec["datasets"].values() for row in rows]


def test_all_figures_exist_and_draw(specs):
    assert tuple(specs) == NAMES
    for name, spec in specs.items():
        picture = vega.svg(spec)
        assert picture.startswith("<svg"), name
        assert "currentColor" in picture, name  # text follows the page
        assert "<script>alert" not in picture, name
        assert not re.findall(r'(?:href|src)="http', picture), name


def test_specs_carry_their_data_and_ask_for_nothing(specs):
    for name, spec in specs.items():
        text = json.dumps(spec)
        assert data(spec), name
        assert '"url"' not in text, name
        assert "NaN" not in text, name


def test_choices_are_parameters_with_the_headline_first(specs):
    found = {p["name"]: p for p in specs["plane"]["params"] if "value" in p}
    assert {name: p["value"] for name, p in found.items()} == {
        "protocol": "zsr", "backbone": "resnet-tiny", "attack": "worst case", "eps": "2/255",
    }  # fmt: skip
    assert found["backbone"]["bind"]["options"] == ["resnet-tiny", "vit-tiny"]
    assert "bind" not in found["protocol"]  # one option is no choice


def test_the_plane_shows_the_means_and_starts_its_wedges_at_clip(specs, built):
    rows = data(specs["plane"])
    lines = built["methods"].query("scope == 'zero-shot'")
    for _, line in lines.iterrows():
        point = [
            r for r in rows if "harmonic" in r and all(r[k] == line[k] for k in ("backbone", "model", "attack", "eps"))
        ]
        assert len(point) == 1
        assert point[0]["x"] == pytest.approx(100 * line["clean"], abs=0.006)
        assert point[0]["y"] == pytest.approx(100 * line["robust"], abs=0.006)
    wedges = [r for r in rows if "size" in r]
    assert {r["model"] for r in wedges} == {"tecoa", synthetic.HOSTILE, synthetic.RUDE}
    clip = {(r["backbone"], r["attack"], r["eps"], r["x"], r["y"]) for r in rows if r.get("model") == "clip"}
    assert {(r["backbone"], r["attack"], r["eps"], r["x"], r["y"]) for r in wedges if r["size"] == 0} == clip


def test_iso_lines_have_the_harmonic_mean_they_say(specs):
    lines = [r for r in data(specs["plane"]) if "level" in r]
    assert len({r["level"] for r in lines}) >= 3
    for r in lines:
        assert 2 * r["x"] * r["y"] / (r["x"] + r["y"]) == pytest.approx(r["level"], abs=0.05)


def test_the_axes_of_the_plane_are_those_of_the_protocol(built):
    """Protocols may lie far apart: each has a frame around its points, whatever attack and ε are chosen."""
    methods = built["methods"]
    low = methods.assign(protocol="low", **{c: methods[c] / 10 for c in methods if c[:5] in ("clean", "robus")
                                            and not c.endswith("mark")})  # fmt: skip
    both = pd.concat([methods, low])
    spec = plane(both, choices(built["cells"]), lambda: {"color": alt.Color(), "shape": alt.Shape()}).to_dict()
    seen = []
    for layer, (axis, *ends) in itertools.product(
        spec["layer"], (("x", "clean_lo", "clean_hi"), ("y", "robust_lo", "robust_hi"))
    ):
        domain = layer["encoding"].get(axis, {}).get("scale", {}).get("domain")
        if domain is not None:
            seen.append(axis)
            bounds = [json.loads(re.fullmatch(r"\((.*)\)\[protocol\]", end["expr"])[1]) for end in domain]
            for protocol, part in both.query("scope == 'zero-shot'").groupby("protocol"):
                assert bounds[0][protocol] <= 100 * part[ends[0]].min()
                assert 100 * part[ends[1]].max() <= bounds[1][protocol] <= 100 * part[ends[1]].max() + 9
    assert set(seen) == {"x", "y"}


def test_labels_of_the_plane_stay_inside(specs):
    assert all(abs(r["dx"]) <= WIDTH and abs(r["dy"]) <= HEIGHT for r in data(specs["plane"]) if "dx" in r)
    assert {r["align"] for r in data(specs["plane"]) if "align" in r} <= {"left", "right", "center"}


def test_labels_of_the_plane_keep_off_each_other():
    names = [f"method {i}" for i in range(8)]
    part = pd.DataFrame({"model": names, "x": [70 + 0.4 * i for i in range(8)], "y": [50 - 0.3 * i for i in range(8)]})
    part = part.assign(x_lo=part["x"] - 1, x_hi=part["x"] + 1)
    placed = _labels(part, Frame(60, 90, 0, 70))
    right = part.assign(dx=10, dy=0, align="left")
    assert overlap(placed) == 0 < overlap(right)
    assert list(placed["label"]) == names


def test_a_name_without_room_is_left_out():
    names = [f"method {i:02}" for i in range(40)]
    crowd = pd.DataFrame({"model": names, "x": 70 + 0.01 * pd.RangeIndex(40), "y": 3.0})
    placed = _labels(crowd.assign(x_lo=crowd["x"] - 1, x_hi=crowd["x"] + 1), Frame(60, 90, 0, 70))
    written = placed[placed["label"] != ""]
    assert 3 <= len(written) < 40 and (written["label"] == written["model"]).all()
    boxes = len(written) * (len(written) - 1) / 2
    assert overlap(written) <= boxes * 0.35 * 14 * 6.6 * len(names[0])


def test_legend_and_heat_map_follow_the_models_of_the_backbone():
    """Two models on one backbone, three on another: the report opens with the latter, and names no absent model."""
    results = synthetic.make(models=["clip", "tecoa", "fare"], attacks=("pgd-10",), backbones=("narrow", "wide"))
    absent = {"backbone": "narrow", "name": "fare"}
    cells = [cell for cell in results.cells if any(cell["model"][key] != value for key, value in absent.items())]
    built = build_tables(cells, results.rows, results.models)
    specs = {name: vega.spec(chart) for name, chart in build_figures(built, synthetic.logs(results)).items()}
    for name in ("plane", "epsilon", "steps", "training"):
        shown = json.dumps(specs[name])
        made = json.dumps('{"narrow": ["clip", "tecoa"], "wide": ["clip", "tecoa", "fare"]}[backbone]')
        assert made in shown, name
        picture = vega.svg(specs[name])
        assert "fare" in picture, name  # at the start: wide
        start = next(param for param in specs[name]["params"] if param["name"] == "backbone")
        assert start["value"] == "wide"
        start["value"] = "narrow"
        assert "fare" not in vega.svg(specs[name]), name
    assert specs["heatmap"]["height"] == {"step": 26}


def overlap(part):
    """Area that labels share, in square pixels."""
    boxes = []
    for row in part.itertuples():
        x, y = (row.x - 60) / 30 * WIDTH + row.dx, HEIGHT - row.y / 70 * HEIGHT + row.dy
        wide = 6.6 * len(row.model)
        left = x - {"left": 0, "right": wide, "center": wide / 2}[row.align]
        boxes.append((left, y - 7, left + wide, y + 7))
    return sum(
        max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
        for a, b in itertools.combinations(boxes, 2)
    )


def test_eps_curves_begin_with_the_clean_image(specs, built):
    rows = data(specs["epsilon"])
    assert {r["size"] for r in rows} == {0, 1, 2}
    clean = {(r["backbone"], r["model"], r["set"]): r["share"] for r in rows if r["size"] == 0}
    for _, line in built["sets"].iterrows():
        assert clean[(line["backbone"], line["model"], line["dataset"])] == pytest.approx(100 * line["clean"], abs=0.06)


def test_training_curves_are_thinned_to_means(results, built):
    logs = {results.models[-1]["id"]: [{"step": s, "loss": float(s), "note": "text", "ok": True} for s in range(1000)]}
    rows = data(vega.spec(build_figures(built, logs)["training"]))
    assert {r["metric"] for r in rows} == {"loss"}
    assert len(rows) <= POINTS
    assert sum(r["value"] for r in rows) / len(rows) == pytest.approx(499.5, abs=1)


def test_figures_without_data_say_so():
    results = synthetic.make(models=["clip"], attacks=("autoattack",))
    charts = build_figures(build_tables(results.cells, results.rows), {})
    assert "no model of these results was trained" in json.dumps(vega.spec(charts["training"]))
    assert "no attack of these results counts its steps" in json.dumps(vega.spec(charts["steps"]))
    assert all(vega.svg(vega.spec(chart)).startswith("<svg") for chart in charts.values())


def test_models_look_the_same_everywhere_and_differ_without_colour(specs):
    scales = set()
    for name in ("plane", "epsilon", "cost"):
        scales.update(re.findall(r'"range": (\["#[^]]+\])', json.dumps(specs[name])))
    assert len(scales) == 1
    look = looks({"plain": "clip"} | {f"m{i}": f"m{i}" for i in range(14)})
    assert look["plain"]["colour"] == BASELINE
    assert len({(v["colour"], tuple(v["dash"])) for v in look.values()}) == 15
    assert look["m10"]["dash"] != look["m0"]["dash"]


def luminance(colour, vision=None):
    """Relative luminance (WCAG), and for deuteranopes and protanopes the simulated colour (Viénot 1999)."""
    rgb = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    if vision:
        r, g, b = linear
        row = {"protan": (0.11238, 0.88762, 0.0), "deutan": (0.29275, 0.70725, 0.0)}[vision]
        yellow = row[0] * r + row[1] * g
        return yellow, b
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("paper", ["#fcfcfa", "#131518"])
def test_marks_can_be_seen_on_light_and_dark(paper):
    for colour in [*COLOURS, BASELINE]:
        a, b = sorted((luminance(colour), luminance(paper)))
        assert (b + 0.05) / (a + 0.05) >= 2.4, colour


@pytest.mark.parametrize("vision", ["protan", "deutan"])
def test_neighbouring_colours_differ_for_the_colour_blind(vision):
    for one, other in itertools.pairwise(COLOURS):
        (y1, b1), (y2, b2) = luminance(one, vision), luminance(other, vision)
        assert abs(y1 - y2) + abs(b1 - b2) > 0.05, (one, other)


def test_the_palette_does_not_run_out():
    assert len(COLOURS) == 10
    assert len({tuple(d) for d in DASHES}) == 4
