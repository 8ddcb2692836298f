"""The page in a real browser: what can be sorted, chosen, opened, downloaded and seen."""

import csv
import io
import json
import re

import pytest
from support import latex, synthetic
from support.chromium import EXECUTABLE, Chromium

from zsr.report.figures.build import NAMES
from zsr.report.page import grid, table_formats
from zsr.report.percent import fixed, percent

browser = pytest.mark.skipif(EXECUTABLE is None, reason="chromium is not installed (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def file(rendered, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(rendered[0], encoding="utf-8")
    return path


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
