"""Entries as RobustBench keeps them: a worst case is counted per image, and AutoAttack is the whole suite."""

import pytest
from support import synthetic

from zsr.export.model_card import robustbench
from zsr.report.page.answer import points
from zsr.report.tables.build import build_tables


def cells(attacks=("pgd-10", "cw-10"), worst_case=True, rename=()):
    results = synthetic.make(sets=synthetic.SETS[:2], eps=("2/255",), attacks=attacks)
    for cell in results.cells:
        cell["worst_case"] = worst_case
        cell["attack"]["name"] = dict(rename).get(cell["attack"]["name"], cell["attack"]["name"])
    built = build_tables(results.cells, results.rows)["cells"]
    return built[built["id"] == "resnet-tiny-tecoa-0"]


def entries(found):
    return robustbench("resnet-tiny-tecoa-0", found)["entries"]


def test_the_worst_case_is_that_of_the_union():
    found = cells()
    union = found[found["attack_name"] == "union"].set_index("dataset")["robust"]
    assert [entry["worst_case"] for entry in entries(found)] == [points(share) for share in union]


@pytest.mark.parametrize("given", [{"worst_case": False}, {"attacks": ("pgd-10",)}])
def test_without_a_union_there_is_no_worst_case(given):
    assert [entry["worst_case"] for entry in entries(cells(**given))] == [None, None]


@pytest.mark.parametrize("name", ["autoattack", "autoattack-plus"])
def test_autoattack_is_the_whole_suite(name):
    found = cells(("pgd-10", "autoattack"), rename={"autoattack": name}.items())
    suite = found[found["attack_name"] == name]["robust"]
    assert [entry["autoattack_acc"] for entry in entries(found)] == [points(share) for share in suite]


def test_two_parts_of_autoattack_are_not_autoattack():
    found = cells(("pgd-10", "autoattack"), rename={"autoattack": "autoattack-papers"}.items())
    assert [entry["autoattack_acc"] for entry in entries(found)] == [None, None]
