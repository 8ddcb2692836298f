"""Ready-made protocols say what the papers say, chains are planned, and protocols never meet in a table."""

import copy

import pandas as pd
import pytest
from support import synthetic
from support.project import refused

from zsr.config import complete, protocols
from zsr.plan.plan import Plan
from zsr.report.headline import UNION
from zsr.report.tables.build import build_tables

LATTICE = {"step_size": "1/255"}
PAPERS = {  # attacks as (component, verdict, settings), ε in 255ths, number of sets
    "tecoa": ([("pgd", "last", {"steps": 100} | LATTICE), ("autoattack-papers", "any", {"steps": 100})], [1, 2, 4], 16),
    "pmg-aft": (
        [("pgd", "last", {"steps": 10} | LATTICE), ("cw", "last", {"steps": 10, "kappa": 50.0} | LATTICE),
         ("autoattack-papers", "any", {"steps": 100})], [1], 16,
    ),
    "tga-zsr": (
        [("pgd", "last", {"steps": 100} | LATTICE), ("cw", "last", {"steps": 100, "kappa": 50.0} | LATTICE),
         ("autoattack-papers", "any", {"steps": 100})], [1, 2, 4], 16,
    ),
    "caw": (
        [("pgd", "last", {"steps": 100} | LATTICE), ("cw", "last", {"steps": 100, "kappa": 50.0} | LATTICE),
         ("autoattack-papers", "any", {"steps": 100})], [1], 15,
    ),
    "fare": ([("apgd-ce", "any", {"steps": 100}), ("apgd-t", "any", {"steps": 100, "targets": 9})], [1, 2, 4], 14),
    "fewshot": (
        [("pgd", "last", {"steps": 100} | LATTICE), ("autoattack-papers", "any", {"steps": 100})], [1, 2, 4], 11
    ),
    "zsr": (
        [("pgd", "any", {"steps": 100, "step_size": "eps/4"}), ("autoattack", "any", {"queries": 5000})], [1, 2, 4], 16
    ),
}  # fmt: skip


def like(name, **own):
    return {"name": name, "like": name, "datasets": ["drawn-colour"], "images": 48, **own}


def with_protocols(mini, *entries):
    return {**mini, "protocols": list(entries)}


def test_every_ready_made_protocol_is_tested():
    assert set(protocols.known_protocols()) == set(PAPERS)


@pytest.mark.parametrize("name", PAPERS)
def test_a_ready_made_protocol_is_complete_and_as_in_its_paper(mini, name):
    attacks, eps, sets = PAPERS[name]
    made = complete.complete(with_protocols(mini, like(name))).protocols[name]
    assert [(a.kind, a.verdict) for a in made.attacks] == [(attack, verdict) for attack, verdict, _ in attacks]
    for found, (_, _, wanted) in zip(made.attacks, attacks, strict=True):
        assert wanted.items() <= found.settings.items()
    assert [float(e) * 255 for e in made.eps] == pytest.approx(eps)
    raw = protocols.with_ready_made({"protocols": [name]})
    assert raw["protocols"][0]["about"] and raw["protocols"][0]["source"]
    assert raw["protocols"][0]["name"] == name
    assert len(raw["protocols"][0]["datasets"]) == sets


def test_caw_is_tga_without_imagenet_and_zsr_is_strict(mini):
    raw = protocols.with_ready_made({"protocols": ["caw", "tga-zsr", "zsr"]})
    caw, tga, strict = raw["protocols"]
    assert set(tga["datasets"]) - set(caw["datasets"]) == {"imagenet"}
    assert (strict["precision"], strict["worst_case"]) == ("fp32", True)


def test_tables_follow_what_chaining_makes_of_the_labels(mini):
    """With one ε no cell changes, but what the tables call its attack does."""
    mini["protocols"][0]["eps"] = ["1/255"]
    plain = Plan(mini)
    mini["protocols"][0]["chain_eps"] = True
    chained = Plan(mini)
    assert [cell.hash for cell in plain.cells] == [cell.hash for cell in chained.cells]
    assert plain.tables.spec["sets"] != chained.tables.spec["sets"]


def test_own_keys_stand_over_those_of_like(mini):
    made = complete.complete(with_protocols(mini, like("zsr", eps=["3/255"], worst_case=False))).protocols["zsr"]
    assert ([float(e) * 255 for e in made.eps], made.worst_case) == (pytest.approx([3]), False)
    assert made.attacks[0].settings["steps"] == 100


def test_all_images_are_the_split(mini):
    mini["protocols"][0] |= {"datasets": ["mini-source"], "images": "all"}
    assert {job.spec["images"] for job in Plan(mini).cells} == {64}


PGD, LONG = {"name": "pgd", "attack": "pgd", "steps": 2}, {"name": "long", "attack": "pgd", "steps": 3}
MISTAKES = {
    "unknown protocol": (like("cew"), r"protocols\[0\]\.like: unknown protocol 'cew'; did you mean 'caw'\?"),
    "later attack": (like("zsr", attacks=[PGD | {"after": "long"}, LONG]), "'long' stands further down"),
    "unknown attack": (like("zsr", attacks=[PGD, LONG | {"after": "pdg"}]), "unknown attack 'pdg'; did you mean 'pgd'"),
    "last of AutoAttack": (like("zsr", verdict="last"), "'autoattack' has no last iterate; write verdict: any"),
    "images": (like("zsr", images="every"), "'every' is neither a number of images nor 'all'"),
    "store": (like("zsr", store="some"), r"store: 'some' is neither none, examples, nor"),
    "store nothing": (like("zsr", store=0), r"store: '0' is neither none, examples, nor"),
    "unknown key": (like("zsr", chain=True), "unknown key 'chain'; did you mean 'chain_eps'"),
    "a number": (7, "7 is not of type object"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line(mini, mistake):
    entry, message = MISTAKES[mistake]
    with refused(message):
        complete.complete(with_protocols(mini, entry))


def test_a_chained_cell_says_what_it_follows_and_needs_it(mini):
    chained = copy.deepcopy(mini["protocols"][0]) | {"name": "chained", "chain_eps": True, "eps": ["4/255", "1/255"]}
    chained["attacks"][1]["after"] = "pgd"
    plan = Plan({**mini, "protocols": [mini["protocols"][0], chained]})
    cells = {tuple(job.wildcards.values()): job for job in plan.cells}
    at = ("chained", "rn.clip", "drawn-colour")
    last = cells[*at, "pgd-long", "4_255"]
    assert last.spec["follows"] == {"before": "pgd 4/255", "smaller": "pgd-long 1/255"}
    assert last.needs["before"] is cells[*at, "pgd", "4_255"]
    assert last.needs["smaller"] is cells[*at, "pgd-long", "1_255"]
    assert "follows" not in cells[*at, "pgd", "1_255"].spec
    alone = cells["mini", "rn.clip", "drawn-colour", "pgd", "1_255"]
    assert cells[*at, "pgd", "1_255"].spec == alone.spec  # the first of a chain is a cell like any other
    assert not any("follows" in job.spec for job in plan.cells if job.wildcards["protocol"] == "mini")


def test_the_worst_case_is_of_protocols_that_ask_for_it():
    results = synthetic.make(attacks=("pgd-10", "autoattack"))
    assert UNION in set(build_tables(results.cells, results.rows)["cells"]["attack"])
    for cell in results.cells:
        cell["worst_case"] = False
    assert UNION not in set(build_tables(results.cells, results.rows)["cells"]["attack"])


@pytest.mark.parametrize("table", ["cells", "sets", "methods", "paired", "fooled", "alarms"])
def test_numbers_of_two_protocols_share_no_column(table):
    one = synthetic.make(eps=("1/255",))
    two = synthetic.make(eps=("1/255",), images=150, protocol="caw")  # the same names, other images, other numbers
    for cell in two.cells[:6]:
        frame = two.frames[cell["spec_hash"]]
        frame.loc[frame["robust"], ["robust", "adversarial", "margin", "step"]] = [False, -1, -0.5, 1]
        cell["robust_correct"] = 0
    both = build_tables(one.cells + two.cells, lambda c: (one if c in one.cells else two).rows(c))[table]
    apart = pd.concat([build_tables(r.cells, r.rows)[table] for r in (one, two)], ignore_index=True)
    order = [name for name in both.columns if both[name].dtype == object or str(both[name].dtype) == "str"]
    both, apart = (frame.sort_values(order, ignore_index=True) for frame in (both, apart))
    pd.testing.assert_frame_equal(both, apart, check_dtype=False)


def test_a_half_says_how_many_images_it_holds(mini):
    """The set's own `splits` are of all classes: a cell that asks for as many would fail when it runs."""
    half = {"name": "dtd-base", "like": "coop-dtd", "half": "base"}  # 24 of 47 classes of 1692 images
    mini["protocols"][0] |= {"datasets": ["dtd-base"], "transform": "224"}
    sets = mini["data"]
    for images in ("all", 1000):
        mini["data"], mini["protocols"][0]["images"] = [*sets, half], images
        with refused(r"images: .* of 'dtd-base', which has half .*; write `splits: {test: …}` in data 'dtd-base'"):
            complete.complete(copy.deepcopy(mini))
    mini["protocols"][0]["images"] = "all"
    mini["data"] = [*sets, half | {"splits": {"test": 864}}]
    plan = Plan(copy.deepcopy(mini))
    assert {job.spec["images"] for job in plan.cells} == {864}
    assert prepared(plan, "dtd-base")["count"] == 864
    mini["data"], mini["protocols"][0]["images"] = [*sets, half], 800
    assert prepared(Plan(mini), "dtd-base")["count"] is None


def prepared(plan: Plan, dataset: str) -> dict:
    """The spec of the preparation of a dataset's only split."""
    (job,) = [job for job in plan.jobs.values() if job.rule == "prepare" and job.wildcards["dataset"] == dataset]
    return job.spec
