"""A job by its command alone, without Snakemake: what a rule's shell line starts."""

import os
import subprocess
import sys
from pathlib import Path

from support.project import Project
from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan


def command(plan: Plan, job: PlannedJob, results: Path | None = None) -> list[str]:
    """The command line; outputs below `results` instead of the plan's folder if it is given."""
    read = [f"{role}={plan.results / needed.record}" for role, needed in job.needs.items()]
    made = [f"{name}={(results or plan.results) / path}" for name, path in job.outputs.items()]
    script = "workflow.scripts." + Path(job.spec["code"]["roots"][0]).stem  # the first root of every job
    return [sys.executable, "-P", "-m", script, "--spec", job.text, "--input", *read, "--output", *made]


def start(project: Project, plan: Plan, job: PlannedJob, results: Path | None = None, **options) -> subprocess.Popen:
    """The job as a process; what it says comes by its stdout."""
    environment = {"PYTHONPATH": str(project.folder), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        command(plan, job, results), cwd=project.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, **environment}, **options,
    )  # fmt: skip


def run(project: Project, plan: Plan, job: PlannedJob, results: Path | None = None, **options) -> tuple[int, str]:
    """The job's exit code, and what it said."""
    process = start(project, plan, job, results, **options)
    said, _ = process.communicate(timeout=600)
    return process.returncode, said
