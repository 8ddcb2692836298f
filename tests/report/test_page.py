"""The page without JavaScript: complete, and harmless whatever the names."""

import base64
import hashlib
import json
import re
import tomllib

import pandas as pd
import pytest
from support import synthetic
from support.chromium import EXECUTABLE, Chromium
from support.pages import Reader, payload, render, unpack
from support.project import ROOT

from zsr.report.escape import script_code, script_json
from zsr.report.figures.build import NAMES
from zsr.report.page import columnar, grid, published
from zsr.report.percent import fixed, percent
from zsr.report.tables.build import build_tables


def test_three_scripts_and_no_more_whatever_the_names(rendered):
    reader = Reader(rendered[0])
    assert [about.get("type") for about, _ in reader.scripts] == ["application/json", "module", "module"]
    assert not [tag for tag, about in reader.tags if any(name.startswith("on") for name in about)]
    assert len(reader.ids) == len(set(reader.ids))


def test_the_policy_allows_exactly_these_scripts_and_no_request(rendered):
    reader = Reader(rendered[0])
    policy = next(
        about["content"] for tag, about in reader.tags if about.get("http-equiv") == "Content-Security-Policy"
    )
    for about, code in reader.scripts:
        if about["type"] == "module":
            assert base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() in policy
    assert "default-src 'none'" in policy
    assert "connect-src" not in policy
    assert "unsafe-inline" not in policy.split("script-src")[1]


def test_nothing_is_referred_to_outside(rendered):
    for tag, about in Reader(rendered[0]).tags:
        for name in ("src", "href", "xlink:href", "action", "data", "poster"):
            assert about.get(name, "#").startswith(("#", "data:", "url(#")), (tag, about[name])


def test_it_reads_without_javascript(rendered):
    text, built, _ = rendered
    assert len(re.findall("aria-label='[^']*'><svg", text)) == len(NAMES)
    line = built["methods"].query("attack == 'worst case' and eps == '2/255' and scope == 'zero-shot'")
    line = line[line["backbone"] == "resnet-tiny"]
    best = line.loc[line["robust"].idxmax()]
    assert f"{fixed(percent(best['robust']))}\u202f%" in text
    for share in line["robust"]:
        assert f"<span class='main'>{fixed(percent(share))}" in text


def test_tables_name_their_rows_and_columns(rendered):
    tags = Reader(rendered[0]).tags
    grids = [about for tag, about in tags if tag == "div" and "grid" in about.get("class", "")]
    assert len(grids) == 2  # one per backbone
    assert sum("hidden" in about for about in grids) == 1
    headers = [about for tag, about in tags if tag == "th"]
    assert all(about.get("scope") in ("row", "col") for about in headers)
    assert all(about.get("alt") for tag, about in tags if tag == "img")
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1 and set(levels) == {1, 2}


def test_numbers_of_two_protocols_share_no_table():
    one, two = synthetic.make(), synthetic.make(protocol="caw")
    both = synthetic.Results(one.cells + two.cells, one.frames | two.frames, one.models)
    grids = payload(render(both)[0])["grids"]
    assert [g["protocol"] for g in grids] == ["zsr", "caw"]
    assert len(grids[0]["values"]) == len(grids[1]["values"]) == 2


def test_a_set_that_one_model_was_trained_on_is_zero_shot_for_none():
    """As the means count it, in whatever order the models stand; words are shared in the same way."""
    results = synthetic.make(backbones=("a", "b"))
    for cell in results.cells:
        last = cell["model"]["id"] == results.models[-1]["id"]  # of backbone b
        cell["dataset"] |= {"is_source": last and cell["dataset"]["name"] == "count",
                            "shares_words": last and cell["dataset"]["name"] in ("count", "shape")}  # fmt: skip
    built = build_tables(results.cells, results.rows, results.models)
    for made in grid.grids(built):
        kinds = {column["name"]: column["kind"] for column in made["columns"] if column["kind"] != "mean"}
        assert kinds == {"source": "zero-shot", "held-out pairs": "zero-shot", "shape": "shared", "count": "source"}
        means = {column["scope"]: column["sets"] for column in made["columns"] if column["kind"] == "mean"}
        assert means["zero-shot"] == ["source", "held-out pairs", "shape"]
        assert means["unrelated"] == ["source", "held-out pairs"]
        counted = built["methods"].groupby("scope")["sets"].unique()
        assert all(counted[scope].tolist() == [len(names)] for scope, names in means.items())


def test_equal_results_give_an_equal_page(results, rendered):
    assert render(results)[0] == rendered[0]


def test_every_cell_travels_with_its_evidence(results, rendered):
    assert unpack(payload(rendered[0])["evidence"]) == json.loads(json.dumps(results.cells))


def test_columns_hold_the_rows_of_a_figure():
    rows = [{"a": "x", "b": 1, "c": None}, {"a": "x", "b": 2.5, "c": "y"}, {"a": "z", "b": 1, "c": "y"}]
    packed = columnar.pack(rows)
    read = {k: v if isinstance(v, list) else [v["of"][i] for i in v["at"]] for k, v in packed["columns"].items()}
    assert [{k: v[i] for k, v in read.items()} for i in range(packed["n"])] == rows
    assert columnar.pack([]) == {"n": 0, "columns": {}}


def test_json_and_code_cannot_leave_their_script():
    text = script_json({"a": "</script><!--\u2028", "b": "&"})
    assert not re.search("[<>&\u2028]", text)
    assert json.loads(text) == {"a": "</script><!--\u2028", "b": "&"}
    assert "</script" not in script_code("'</script>'")


def test_one_model_one_set_one_cell():
    results = synthetic.make(models=["clip"], sets=["source", "shape"], eps=("1/255",))
    text, _, _ = render(results)
    assert "clip" in text
    only = synthetic.make(models=["tecoa"], sets=["source"], eps=("1/255",))
    assert "no mean over the zero-shot sets" in render(only)[0]


def test_published_numbers_stand_beside_ours_or_one_line_says_that_none_can(results, rendered):
    assert "nothing stands beside them" in rendered[0]
    line = {"model": synthetic.HOSTILE, "dataset": "shape", "attack": "pgd-10", "eps": "2/255",
            "our_clean": 80.25, "clean": float("nan"), "our_robust": 51.25, "robust": 49.8, "paper": "Somebody & al.",
            "arxiv": "1234.56789",
            "source": "table 3", "differs": "20 steps there, 10 here", "mark": ""}  # fmt: skip
    beside = pd.DataFrame([line])
    section = published.html(beside)
    assert [x for x in re.findall("<td>([^<]*)</td>", section)][2:] == [
        "80.3", "–", "51.3", "49.8", "Somebody &amp; al. (1234.56789), table 3", "20 steps there, 10 here"
    ]  # fmt: skip
    assert synthetic.HOSTILE not in section and section.count("<th scope=") == 10


@pytest.mark.slow
def test_the_gallery_says_that_models_may_show_different_images(rendered):
    key = re.search(r"<p class='key'>Images chosen by a seeded random draw.*?</p>", rendered[0]).group()
    assert "shown on the same images" not in key
    assert "in one order for all models of a set" in key and "<code>store: 20</code>" in key


@pytest.mark.slow
def test_paper_size_is_small_and_quick(tmp_path):
    text, _, seconds = render(synthetic.paper(images=200))
    assert len(text.encode()) < 5e6
    assert seconds < 20
    if EXECUTABLE:
        (tmp_path / "report.html").write_text(text, encoding="utf-8")
        with Chromium() as chromium:
            assert chromium.open(tmp_path / "report.html") < 15
            assert not chromium.errors


def test_the_packages_of_the_page_are_pinned():
    with open(ROOT / "pyproject.toml", "rb") as handle:
        needs = " ".join(tomllib.load(handle)["project"]["dependencies"])
    assert "altair" in needs and "vl-convert-python" in needs
