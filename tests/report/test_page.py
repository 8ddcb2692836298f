"""The page: complete without JavaScript, harmless whatever the names, and alive in a real browser."""

import base64
import csv
import hashlib
import html.parser
import io
import json
import re
import time
import tomllib

import pandas as pd
import pytest
from support import latex, synthetic
from support.chromium import EXECUTABLE, Chromium

from zsr.registry import ROOT
from zsr.report.escape import script_code, script_json
from zsr.report.figures import vega
from zsr.report.figures.build import NAMES, build_figures
from zsr.report.page import columnar, evidence, grid, published, table_formats
from zsr.report.page.build import build_page
from zsr.report.page.contact_sheet import Sheet
from zsr.report.percent import fixed, percent
from zsr.report.tables.build import build_tables

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
TITLE = "<script>alert(1)</script> {{data}} results"
browser = pytest.mark.skipif(EXECUTABLE is None, reason="chromium is not installed (Debian: apt-get install chromium)")


def render(results, title=TITLE):
    built = build_tables(results.cells, results.rows, results.models)
    specs = {name: vega.spec(chart) for name, chart in build_figures(built, synthetic.logs(results)).items()}
    start = time.monotonic()
    text = build_page(
        built, specs, {name: vega.svg(spec) for name, spec in specs.items()}, title=title, cells=results.cells,
        models=results.models,
        sheets=[Sheet(synthetic.HOSTILE, synthetic.RUDE, PNG)],
        examples=synthetic.gallery(results)[:2],
    )  # fmt: skip
    return text, built, time.monotonic() - start


@pytest.fixture(scope="module")
def results():
    names = ["clip", "tecoa", synthetic.HOSTILE, synthetic.RUDE, "</script><!--"]
    return synthetic.make(
        models=names, sets=["source", synthetic.HOSTILE, synthetic.RUDE, "shape"], attacks=("pgd-10", "autoattack"),
        backbones=("resnet-tiny", "<b>vit</b>"), seeds=(0, 1),
    )  # fmt: skip


@pytest.fixture(scope="module")
def rendered(results):
    return render(results)


@pytest.fixture(scope="module")
def file(rendered, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(rendered[0], encoding="utf-8")
    return path


class Reader(html.parser.HTMLParser):
    """Elements with attributes, scripts with their text, and the text of table cells."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.ids = [], [], []
        self._script = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.tags.append((tag, known))
        if "id" in known:
            self.ids.append(known["id"])
        if tag == "script":
            self._script = (known, [])

    def handle_data(self, data):
        if self._script:
            self._script[1].append(data)

    def handle_endtag(self, tag):
        if tag == "script":
            self.scripts.append((self._script[0], "".join(self._script[1])))
            self._script = None


def payload(text):
    return json.loads(next(code for about, code in Reader(text).scripts if about.get("id") == "payload"))


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
    assert evidence.unpack(payload(rendered[0])["evidence"]) == json.loads(json.dumps(results.cells))


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
    key = re.search(r"<p class='key'>Images drawn by seed.*?</p>", rendered[0]).group()
    assert "shown on the same images" not in key
    assert "in one order for all models of a set" in key and "<code>store: 20</code>" in key


def test_paper_size_is_small_and_quick(tmp_path):
    text, _, seconds = render(synthetic.paper(images=200))
    assert len(text.encode()) < 5e6
    assert seconds < 20
    if EXECUTABLE:
        (tmp_path / "report.html").write_text(text, encoding="utf-8")
        with Chromium() as chromium:
            assert chromium.open(tmp_path / "report.html") < 15
            assert not chromium.errors


# -- in the browser --------------------------------------------------------------------------------------------------

CELLS = (
    "[...document.querySelectorAll('.grid:not([hidden]) tbody tr')].map(r => [...r.children].map(c => c.textContent))"
)
SHOWN = (
    "[...document.querySelectorAll('.grid:not([hidden]) tbody tr')].map("
    "r => r.querySelector('td .main').firstChild.data)"
)
ALL_DRAWN = "Promise.all([...document.querySelectorAll('.chart')].map(zsr.draw)).then(() => true)"


def choose(chromium, name, value):
    chromium.run(
        f"(() => {{ const s = document.querySelector('[name={name}]'); s.value = {json.dumps(value)};"
        "s.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )


@pytest.fixture(scope="module")
def chromium(file):
    with Chromium() as started:
        started.open(file)
        yield started


@pytest.fixture
def fresh(chromium, file):
    chromium.open(file)
    return chromium


@browser
def test_no_error_no_request_no_foreign_script(fresh):
    assert fresh.run(ALL_DRAWN)
    for name, value in (("backbone", "<b>vit</b>"), ("attack", "pgd-10"), ("eps", "1/255")):
        choose(fresh, name, value)
    fresh.run("new Promise(done => setTimeout(done, 300))")
    assert fresh.errors == []
    assert [url[:80] for url in fresh.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert sum(url.startswith("file:") for url in fresh.requests) == 1
    assert fresh.run("document.querySelectorAll('script').length") == 3
    assert fresh.run("document.querySelectorAll('.answer script, .grid script, .grid b').length") == 0


@browser
def test_the_script_draws_the_table_that_python_wrote(fresh, rendered):
    """Both make the same cells by the same rules."""
    plain = re.search(r"<div class='scroll grid' data-grid='0'.*?</table>", rendered[0], re.S)[0]
    count = f"(() => {{ const d = new DOMParser().parseFromString({json.dumps(plain)}, 'text/html'); return "
    assert fresh.run(count + CELLS.replace("document", "d").replace(".grid:not([hidden]) ", "") + "})()") == fresh.run(
        CELLS
    )
    classes = "[...document.querySelectorAll('[data-grid=\"0\"] tbody td')].map(c => [...c.classList].sort().join())"
    assert fresh.run(count + classes.replace("document", "d") + "})()") == fresh.run(classes)


@browser
def test_sorting_by_mouse_and_by_keyboard(fresh):
    start = fresh.run(SHOWN)
    head = ".grid:not([hidden]) thead th:nth-child(2)"
    fresh.run(f"document.querySelector('{head} button').click()")
    down = [float(x) for x in fresh.run(SHOWN)]
    assert down == sorted(down, reverse=True)
    assert fresh.run(f"document.querySelector('{head}').ariaSort") == "descending"
    fresh.run(f"document.querySelector('{head} button').focus()")
    fresh.press("Enter", 13, "\r")
    assert [float(x) for x in fresh.run(SHOWN)] == sorted(down)
    assert fresh.run(f"document.querySelector('{head}').ariaSort") == "ascending"
    fresh.press("Enter", 13, "\r")
    assert fresh.run(SHOWN) == start
    fresh.run("document.querySelector('.grid:not([hidden]) thead button').click()")
    names = [row[0] for row in fresh.run(CELLS)]
    assert names == sorted(names, key=str.casefold) or len(set(names)) == len(names)


@browser
def test_choices_change_answer_table_and_figures_together(fresh, rendered):
    built = rendered[1]
    assert fresh.run(ALL_DRAWN)
    for name, value in (("backbone", "<b>vit</b>"), ("attack", "pgd-10"), ("eps", "1/255")):
        choose(fresh, name, value)
    lines = built["methods"].query("attack == 'pgd-10' and eps == '1/255' and scope == 'zero-shot'")
    lines = lines[lines["backbone"] == "<b>vit</b>"]
    assert fresh.run(SHOWN) == [fixed(percent(share)) for share in lines["robust"]]
    best = lines.loc[lines["robust"].idxmax()]
    said = fresh.run("document.querySelector('.answer').textContent")
    assert "<b>vit</b>" in said and best["model"] in said and fixed(percent(best["robust"])) in said
    assert fresh.run("[...zsr.views.values()].every(v => v.signal('backbone') === '<b>vit</b>')")
    fresh.run("document.querySelector('[name=view][value=clean]').click()")
    assert fresh.run(SHOWN) == [fixed(percent(share)) for share in lines["clean"]]


@browser
def test_intervals_by_pointer_and_by_keys(fresh):
    fresh.run("document.querySelector('.grid:not([hidden]) tbody td').focus()")
    assert not fresh.run("document.querySelector('#tip').hidden")
    first = fresh.run("document.querySelector('#tip').textContent")
    assert re.search(r"robust \d+\.\d % \[\d+\.\d, \d+\.\d\]", first)
    assert f"mean over 3 sets: {synthetic.HOSTILE}, {synthetic.RUDE}, shape" in first
    fresh.press("ArrowDown", 40)
    fresh.press("ArrowRight", 39)
    assert fresh.run("document.querySelector('#tip').textContent") != first
    assert (
        fresh.run("[...document.querySelectorAll('.grid:not([hidden]) td')].filter(c => c.tabIndex === 0).length") == 1
    )
    fresh.press("Escape", 27)
    assert fresh.run("document.querySelector('#tip').hidden")


@browser
def test_evidence_opens_from_a_number_and_from_the_list(fresh, results):
    fresh.run("document.querySelector('.grid:not([hidden]) tbody tr:nth-child(2) td:last-child').focus()")
    fresh.press("Enter", 13, "\r")
    assert fresh.run("document.querySelector('dialog').open")
    proof = fresh.run("document.querySelector('dialog').textContent")
    mine = [c for c in results.cells if (c["model"]["name"], c["model"]["backbone"], c["dataset"]["name"], c["eps"])
            == ("tecoa", "resnet-tiny", "shape", "2/255")]  # fmt: skip
    assert len(mine) == 4  # two attacks × two seeds stand behind the worst case
    assert all(c["spec_hash"] in proof and c["digest"] in proof for c in mine)
    fresh.run("document.querySelector('dialog').close()")
    fresh.run("document.querySelector('[data-list=evidence] summary').click()")
    fresh.wait("document.querySelectorAll('[data-list=evidence] tbody tr').length > 0")
    assert fresh.run("document.querySelectorAll('[data-list=evidence] tbody tr').length") == len(results.cells)


@browser
def test_downloads_parse(fresh, rendered):
    built = rendered[1]
    lines = list(csv.reader(io.StringIO(fresh.run("zsr.makers.csv()"))))
    assert {len(line) for line in lines} == {1 + 3 * 7}
    assert [line[0] for line in lines[1:]] == list(built["sets"]["model"].unique())
    everything = list(csv.DictReader(io.StringIO(fresh.run("zsr.makers.all()"))))
    assert len(everything) == len(built["sets"]) + len(built["methods"].query("scope != 'source'"))
    shown = {(e["backbone"], e["model"], e["column"], e["attack"], e["eps"]): e["robust"] for e in everything}
    for _, line in built["sets"].iterrows():
        key = (line["backbone"], line["model"], line["dataset"], line["attack"], line["eps"])
        assert float(shown[key]) == pytest.approx(100 * line["robust"], abs=0.006)
    rows = [line for line in fresh.run("zsr.makers.md()").split("\n") if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {9}
    assert "\\<script\\>" in rows[-3]


@browser
def test_latex_is_balanced_and_escaped(fresh):
    text = fresh.run("zsr.makers.tex()")
    rows = latex.check(text)
    assert len(rows) == 6
    assert {len(row) for row in rows} == {8}
    assert r"a\&b\_c\%\textquotedbl{}\$\textbackslash{}" in text


@browser
@pytest.mark.parametrize("quantity", ["robust", "clean"])
def test_the_command_line_writes_the_same_tables(fresh, rendered, quantity):
    fresh.run(f"document.querySelector('[name=view][value={quantity}]').click()")
    made = grid.grids(rendered[1])[0]
    start = fresh.run("[zsr.state.attack, zsr.state.eps]")
    for form, maker in (("csv", "csv"), ("md", "md"), ("latex", "tex")):
        assert table_formats.write(made, *start, quantity, form) == fresh.run(f"zsr.makers.{maker}()")


@browser
def test_the_gallery_shows_what_its_filters_ask_for(fresh, results):
    entries = [e for e in synthetic.gallery(results)[0] if e["backbone"] == "resnet-tiny"]
    said = "document.querySelector('.filters output').textContent"
    assert fresh.run(said) == f"{min(12, len(entries))} of {len(entries)} shown"
    card = "[...document.querySelectorAll('.card')].map(c => c.querySelector('figcaption').textContent)"
    for name, key, value in (("set", "dataset", synthetic.HOSTILE), ("fate", "fate", "fell"), ("model", "id", "tecoa")):
        fresh.run(f"document.querySelector('.filters [name={name}]').value = {json.dumps(value)}")
        fresh.run("document.querySelector('.filters').dispatchEvent(new Event('change'))")
        entries = [e for e in entries if (e[key] == value or (name == "model" and f"-{value}-" in e[key]))]
        assert len(fresh.run(card)) == len(entries)
        assert entries or name != "set", "the first filter must leave something"
    choose(fresh, "backbone", "<b>vit</b>")
    shown = fresh.run("[...document.querySelectorAll('.filters select')].map(s => s.value)")
    keys = zip(("dataset", "id", "fate"), shown, strict=True)
    left = [e for e in synthetic.gallery(results)[0] if e["backbone"] == "<b>vit</b>"]
    for key, value in keys:  # a choice that this backbone does not have falls back to all
        left = [e for e in left if not value or e[key] == value or (key == "id" and f"-{value}-" in e[key])]
    assert fresh.run(said) == f"{min(12, len(left))} of {len(left)} shown"
    assert fresh.run("document.querySelectorAll('.cards script, .cards b b').length") == 0
    assert fresh.errors == []


@browser
def test_a_card_shows_pictures_with_words_and_both_rankings(fresh, results):
    entries = [e for e in synthetic.gallery(results)[0] if e["backbone"] == "resnet-tiny"][:12]
    found = fresh.run(
        "[...document.querySelectorAll('.card')].map(c => ({images: c.querySelectorAll('.shot').length,"
        "alts: [...c.querySelectorAll('img:not(.shade)')].every(i => i.alt), none: Boolean(c.querySelector('.none')),"
        "heads: [...c.querySelectorAll('th[scope=col]')].map(t => t.textContent),"
        "first: c.querySelector('td .name').textContent, true: c.querySelectorAll('td.true').length}))"
    )
    for entry, card in zip(entries, found, strict=True):
        fell = entry["fate"] == "fell"
        assert card["images"] == (3 if fell else 1) + len(entry["attention"])
        assert card["alts"] and card["none"] is not bool(entry["attention"])
        assert card["heads"] == (["before", "after"] if fell else ["before"])
        assert card["first"] == entry["before"][0][0] and card["true"] == (2 if fell else 1)
    more = "document.querySelector('.more')"
    every = [e for e in synthetic.gallery(results)[0] if e["backbone"] == "resnet-tiny"]
    assert fresh.run(f"{more}.hidden") is (len(every) <= 12)
    if len(every) > 12:
        fresh.run(f"{more}.click()")
        assert fresh.run("document.querySelectorAll('.card').length") == min(24, len(every))
        assert fresh.run("document.activeElement.className") == "card"


@browser
def test_figures_can_be_saved(fresh):
    assert fresh.run(ALL_DRAWN)
    picture = fresh.run("zsr.views.get('plane').toSVG()")
    assert picture.startswith("<svg") and "<script>" not in picture
    assert fresh.run("document.querySelectorAll('.save button').length") == 2 * len(NAMES)


@browser
@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_needs_no_sideways_scrolling_and_dark_is_dark(chromium, file, dark):
    chromium.open(file, width=390, height=800, dark=dark, phone=True)
    assert chromium.run(ALL_DRAWN)
    assert chromium.run("document.documentElement.scrollWidth") <= 390
    colour = chromium.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", colour)[:3])) < 150) is dark


def test_the_packages_of_the_page_are_pinned():
    with open(ROOT / "pyproject.toml", "rb") as handle:
        needs = " ".join(tomllib.load(handle)["project"]["dependencies"])
    assert "altair" in needs and "vl-convert-python" in needs
