"""What to do when Snakemake's memory (`.snakemake/`) was lost: ask the results themselves.

Without its metadata Snakemake compares times alone, and would call results up to date that other code has made.
The plan then reads every record and refuses stale ones by name; so it does where other results than those that
Snakemake remembers were put in their place. While its memory is of the tables that lie there this costs two readings.
"""

import base64
import json
from pathlib import Path

from zsr.errors import ZsrError
from zsr.graph import Job
from zsr.plan import Plan
from zsr.provenance import canonical
from zsr.store import read_record


def refuse_forgotten(plan: Plan, metadata: str) -> None:
    """Raise if Snakemake has forgotten the finished tables and any result on disk is not the plan's."""
    record = plan.results / plan.tables.record
    if not record.is_file() or remembered(record, Path(metadata, metadata_name(str(record)))):
        return
    found = stale(plan)
    if found:
        raise ZsrError(
            f"Snakemake's memory (.snakemake/) is not of these results, and {len(found)} of them are not what the "
            f"config and the code ask for, first {found[0]}; run `zsr repair` to remove them, then snakemake"
        )


def remembered(record: Path, memory: Path) -> bool:
    """Whether Snakemake's memory is of the tables that lie there: others may have been put in their place."""
    try:
        spec = json.loads(record.read_text(encoding="utf-8"))["spec"]
        known = json.loads(memory.read_text(encoding="utf-8"))["params"]
    except (OSError, ValueError, KeyError):
        return False
    return known == [repr(canonical(spec))]


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
