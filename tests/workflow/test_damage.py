"""Damage to results that lie on disk, clocks that jump, two Snakemakes at once: named, refused, mended."""

import os
import subprocess
import sys
import time

import pytest
from support.damage import flip, truncate
from support.jobs import run
from support.killing import digests
from support.project import Project

from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan

pytestmark = pytest.mark.slow


# what is damaged -> how, and the kind of job that reads it
DAMAGE = {
    "data/mini-source/train/native/images.npy": (flip, "finetune"),
    "data/mini-source/train/native/labels.npy": (truncate, "finetune"),
    "backbones/rn/weights.safetensors": (flip, "finetune"),
    "heads/rn/mini-source.safetensors": (flip, "finetune"),
    "models/rn.tecoa.s0/weights.safetensors": (flip, "evaluate"),
    "models/rn.tecoa.s0/manifest.json": (flip, "evaluate"),
    "backbones/rn/manifest.json": (truncate, "heads"),
}


def one(plan: Plan, rule: str) -> PlannedJob:
    """A job of a rule that reads the model tecoa, its source set and its head, as far as it reads a model."""
    return next(
        job for job in plan.jobs.values()
        if job.rule == rule and job.wildcards.get("model", "rn.tecoa.s0") == "rn.tecoa.s0"
    )  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_by_the_job_that_reads_it(copy, tmp_path, name):
    """The job is run into another folder, so that only what it reads is there."""
    plan = Plan(copy.config)
    how, rule = DAMAGE[name]
    how(copy.folder / plan.results / name)
    code, said = run(copy, plan, one(plan, rule), tmp_path / "elsewhere")
    assert code == 1 and "Traceback" not in said, said
    (line,) = {line for line in said.splitlines() if line.startswith("zsr: ")}
    assert line.startswith(f"zsr: {plan.results / name}: ") and "zsr repair" in line
    assert not any(path.is_file() for path in (tmp_path / "elsewhere").rglob("*"))


def test_a_truncated_parquet_is_refused_and_mended(copy):
    plan = Plan(copy.config)
    whole = digests(copy, plan)
    cell = plan.cells[0]
    truncate(copy.folder / plan.results / cell.outputs["rows"])
    said = copy.snakemake("--forcerun", "tables", code=1)
    assert f"zsr: {plan.results / cell.outputs['rows']}: damaged" in said
    assert cell.outputs["rows"] in copy.zsr("verify", code=1)
    assert "1 results removed" in copy.zsr("repair")
    copy.snakemake()
    assert digests(copy, plan) == whole


@pytest.mark.parametrize("years", [20, -20])
def test_a_clock_that_jumps(copy, years):
    """Times of files far in the future or the past: nothing is made again but what is missing."""
    then = time.time() + years * 365 * 86400
    for path in copy.folder.rglob("*"):
        if path.is_file() and ".snakemake" not in path.parts:
            os.utime(path, (then, then))
    assert "Nothing to be done" in copy.snakemake("-n")
    plan = Plan(copy.config)
    cell = copy.folder / plan.results / plan.cells[-1].outputs["rows"]
    cell.unlink()
    others = {path: path.stat().st_ino for path in copy.folder.glob("results/eval/**/*.parquet") if path != cell}
    if years > 0:  # Snakemake refuses a result that is older than what it was made from, and names both
        assert "has older modification time" in copy.snakemake(code=1)
        for path in (copy.folder / "results").rglob("*"):
            os.utime(path)
    copy.snakemake()
    assert cell.exists()
    assert others == {path: path.stat().st_ino for path in others}
    assert "Nothing to be done" in copy.snakemake("-n")


def test_two_snakemakes_on_one_folder(copy: Project):
    """The second says why it does not start and what to do; the first is not disturbed."""
    plan = Plan(copy.config)
    whole = digests(copy, plan)
    for cell in plan.cells[:6]:  # enough work for the second to come in time
        (copy.folder / plan.results / cell.outputs["rows"]).unlink()
    first = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "1"], cwd=copy.folder,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        end = time.monotonic() + 120
        while not any((copy.folder / ".snakemake/locks").glob("*")):
            assert first.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        said = copy.snakemake(code=1)
        assert "Directory cannot be locked" in said and "--unlock" in said
        assert first.wait(900) == 0
    finally:
        first.kill()
        first.wait()
    assert digests(copy, plan) == whole
