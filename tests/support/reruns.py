"""What a change makes again: worked out from the plan, and asked of Snakemake."""

import re
from collections.abc import Callable
from pathlib import Path

import yaml

from support.project import MINI, Project
from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan

T = {"tables", "figures", "report"}


def planned(project: Project, *arguments: str) -> set[str]:
    """The records of the jobs that Snakemake would run."""
    text = project.snakemake("-n", *arguments)
    found = set()
    for block in re.split(r"\n(?=(?:local)?rule )", text)[1:]:
        if block.startswith(("rule all:", "localrule all:")):
            continue
        output = re.search(r"^    output: (.*)$", block, re.MULTILINE).group(1)
        found.add(output.split(", ")[-1])  # the record is each rule's last output
    return found


def expected(project: Project, wanted: Callable[[PlannedJob], bool]) -> set[str]:
    """The records of the plan's jobs for which `wanted` holds."""
    plan = Plan(project.config)
    jobs = {job for job in plan.jobs.values() if wanted(job)}
    if jobs & set(plan.gallery_cells) or asked(project.config) != asked(
        yaml.safe_load(MINI.read_text(encoding="utf-8"))
    ):
        jobs.add(plan.gallery)  # it shows some of the cells, and the config says which
    return {f"{plan.results}/{job.record}" for job in jobs}


def asked(config: dict) -> dict:
    """What of a config tables and gallery depend on."""
    return {key: value for key, value in config.items() if key not in ("results", "report")}


def is_t(job: PlannedJob) -> bool:
    return job.rule in T


def downstream(plan: Plan, record: str) -> set[PlannedJob]:
    """A job and all that is made of its result, but for tables, figures, gallery and report."""
    found = {plan.graph.owner(record)}
    for job in plan.jobs.values():  # each stands after what it needs
        if found & set(job.needs.values()):
            found.add(job)
    return found


def check(project: Project, wanted: Callable[[PlannedJob], bool]) -> None:
    """Compare, and say which jobs are too many or too few."""
    found, right = planned(project), expected(project, wanted)
    assert right or not found
    assert not found - right, f"would run in vain: {sorted(found - right)}"
    assert not right - found, f"would stay stale: {sorted(right - found)}"


def of_model(name: str) -> Callable[[PlannedJob], bool]:
    """A model's fine-tunings and cells."""
    return lambda job: f".{name}" in job.wildcards.get("model", "") and job.wildcards["model"].split(".")[1] == name


def trains(job: PlannedJob) -> bool:
    """Whether the job is of a fine-tuned model."""
    return ".s" in job.wildcards.get("model", "")


def either(*conditions: Callable[[PlannedJob], bool]) -> Callable[[PlannedJob], bool]:
    return lambda job: any(condition(job) for condition in conditions)


def set_recipe(copy: Project, **keys) -> None:
    """Change the training recipe of `tecoa`."""
    config = copy.config
    next(m for m in config["models"] if m["name"] == "tecoa").setdefault("recipe", {}).update(keys)
    copy.configure(config)


def a_cell(copy: Project) -> tuple[PlannedJob, Path]:
    """One cell of the plan, and the file of its rows."""
    plan = Plan(copy.config)
    job = plan.cells[5]
    return job, copy.folder / plan.results / job.outputs["rows"]
