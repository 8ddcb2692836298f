"""What lies beneath a target, and what of it is gone though others were made of it."""

from pathlib import Path

import pytest

from zsr.gaps import beneath, gaps
from zsr.graph import Job
from zsr.plan import Plan

MODEL = "models/rn.tecoa.s0"
CELL = "eval/mini/rn.tecoa.s0/drawn-colour/pgd/eps-1_255"


@pytest.fixture
def plan(mini: dict, tmp_path: Path) -> Plan:
    """The miniature plan; every file is there, and empty."""
    plan = Plan(mini | {"results": str(tmp_path / "results")})
    for job in plan.jobs.values():
        for path in job.outputs.values():
            (plan.results / path).parent.mkdir(parents=True, exist_ok=True)
            (plan.results / path).touch()
    return plan


def remove(plan: Plan, *names: str) -> None:
    for name in names:
        (plan.results / name).unlink()


def job_of(plan: Plan, path: str) -> Job:
    owner = plan.owner(path)
    assert owner, path
    return owner


def test_the_report_lies_on_every_job(plan):
    assert set(beneath(plan, [plan.report])) == set(plan.jobs.values())


def test_a_cell_lies_on_what_it_reads(plan):
    rules = sorted(job.rule for job in beneath(plan, [job_of(plan, f"{CELL}.json")]))
    assert rules == ["evaluate", "finetune", "heads", "heads", "prepare", "prepare", "prepare", "pretrain"]


# what is removed -> what is asked for beneath the report, below the results folder
GAPS = {
    (): [],
    (f"{MODEL}/manifest.json",): [f"{MODEL}/manifest.json"],
    (f"{MODEL}/train.jsonl",): [f"{MODEL}/train.jsonl"],
    ("report.html", "tables/cells.csv"): ["tables/cells.csv"],  # the figures were made of the tables
    ("report.html",): [],  # Snakemake sees by itself that a target is gone
    (f"{CELL}.json", f"{MODEL}/manifest.json"): [f"{CELL}.json", f"{MODEL}/manifest.json"],
}


@pytest.mark.parametrize("names", GAPS)
def test_gaps_beneath_the_report(plan, names):
    remove(plan, *names)
    for target in (str(plan.results / "report.html"), "report"):
        assert sorted(gaps(plan, [target])) == sorted(str(plan.results / name) for name in GAPS[names])


def test_what_lies_beneath_another_target_is_not_asked_for(plan):
    remove(plan, f"{MODEL}/manifest.json")
    assert gaps(plan, [str(plan.results / "models/vit.tecoa.s0/manifest.json"), "all", "no such file"]) == []


def test_an_empty_folder_has_no_gaps(mini, tmp_path):
    plan = Plan(mini | {"results": str(tmp_path / "results")})
    assert gaps(plan, [str(plan.results / "report.html"), "tables"]) == []
