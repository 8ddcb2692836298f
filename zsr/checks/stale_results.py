"""Finds results that are not the plan's, for the time when Snakemake's memory (`.snakemake/`) was lost.

Without its metadata Snakemake compares times alone. It would call results up to date that other code has made, and it
would make right ones again where a copy mixed up their times. So the plan reads each record that Snakemake does not
remember: it refuses stale ones by name where Snakemake could believe them, and names `zsr adopt` for right ones. While
the memory is of what lies there this costs one small file a result.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from zsr.checks.snakemake_memory import name_of_output, remembered_params
from zsr.errors import ZsrError
from zsr.hashing import canonical
from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan
from zsr.storage.input_hashes import changed_input
from zsr.storage.records import read_record


def refuse_forgotten(plan: Plan, metadata: Path) -> None:
    """Raise if Snakemake has forgotten everything, or the finished tables, and any result on disk is not the plan's."""
    record = plan.results / plan.tables.record
    lost = not metadata.is_dir() or not any(metadata.iterdir())
    if not lost and (not record.is_file() or remembered(record, metadata / name_of_output(str(record)))):
        return
    if names := stale(plan, plan.jobs.values()):
        raise ZsrError(
            f"Snakemake's memory (.snakemake/) is not of these results, and {len(names)} of them are not what the "
            f"config and the code ask for, first {names[0]}; run `zsr repair` to remove them, then snakemake"
        )


def adoptable_notice(plan: Plan, metadata: Path) -> str:
    """One line if results are right that Snakemake does not remember, or ''."""
    count = sum(believable(plan, job) for job in forgotten(plan, metadata))
    if not count:
        return ""
    return (
        f"{count} results are right, but Snakemake does not remember them, as after a copy or in a fresh clone, and "
        "may make them again; run `zsr adopt` first: it checks them and tells Snakemake"
    )


def forgotten(plan: Plan, metadata: Path) -> list[PlannedJob]:
    """The jobs whose result is on disk and whose spec Snakemake does not remember."""
    return [job for job in plan.jobs.values() if on_disk(plan, job) and not _knows(plan, job, metadata)]


def _knows(plan: Plan, job: PlannedJob, metadata: Path) -> bool:
    return remembered_params(metadata / name_of_output(str(plan.results / job.record))) == [repr(job.text)]


def remembered(record: Path, memory: Path) -> bool:
    """Whether Snakemake's memory is of the tables that lie there: others may have been put in their place."""
    try:
        spec = json.loads(record.read_text(encoding="utf-8"))["spec"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    return remembered_params(memory) == [repr(canonical(spec))]


def stale(plan: Plan, jobs: Iterable[PlannedJob]) -> list[str]:
    """The records on disk that are damaged, of another spec than the plan's, or made of other bytes than lie there."""
    return [job.record for job in jobs if on_disk(plan, job) and not believable(plan, job)]


def on_disk(plan: Plan, job: PlannedJob) -> bool:
    """Whether the job's record is there."""
    return (plan.results / job.record).is_file()


def believable(plan: Plan, job: PlannedJob) -> bool:
    """Whether the job's record is whole, of the spec that the plan asks for, and made of what lies there."""
    try:
        record = read_record(plan.results / job.record, job.hash)
    except ZsrError:
        return False
    return changed_input(plan, job, record) is None
