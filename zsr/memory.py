"""What to do when Snakemake's memory (`.snakemake/`) was lost: ask the results themselves.

Without its metadata Snakemake compares times alone, and would call results up to date that other code has made.
The plan then reads every record and refuses stale ones by name; while the metadata is there this costs one `stat`.
"""

import base64
from pathlib import Path

from zsr.errors import ZsrError
from zsr.graph import Job
from zsr.plan import Plan
from zsr.store import read_record


def refuse_forgotten(plan: Plan, metadata: str) -> None:
    """Raise if Snakemake has forgotten the finished tables and any result on disk is not the plan's."""
    record = plan.results / plan.tables.record
    if not record.is_file() or Path(metadata, metadata_name(str(record))).exists():
        return
    found = stale(plan)
    if found:
        raise ZsrError(
            f"Snakemake's memory of these results (.snakemake/) is gone, and {len(found)} of them are not what the "
            f"config and the code ask for, first {found[0]}; run `zsr repair` to remove them, then snakemake"
        )


def metadata_name(path: str) -> str:
    """The file in which Snakemake remembers an output; a test holds this against Snakemake's own."""
    return base64.urlsafe_b64encode(path.encode()).decode()


def stale(plan: Plan) -> list[str]:
    """The records on disk that are damaged, or of another spec than the plan's."""
    return [job.record for job in plan.jobs.values() if on_disk(plan, job) and not believable(plan, job)]


def on_disk(plan: Plan, job: Job) -> bool:
    """Whether the job's record is there."""
    return (plan.results / job.record).is_file()


def believable(plan: Plan, job: Job) -> bool:
    """Whether the job's record is whole and of the spec that the plan asks for."""
    try:
        read_record(plan.results / job.record, job.hash)
    except ZsrError:
        return False
    return True
