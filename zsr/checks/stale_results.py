"""What to do when Snakemake's memory (`.snakemake/`) was lost: ask the results themselves.

Without its metadata Snakemake compares times alone. It would call results up to date that other code has made, and it
would make right ones again where a copy mixed up their times. So the plan reads each record that Snakemake does not
remember: it refuses stale ones by name where Snakemake could believe them, and names `zsr adopt` for right ones. While
the memory is of what lies there this costs one small file a result.
"""

import base64
import json
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from zsr.errors import ZsrError
from zsr.hashing import canonical
from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan
from zsr.storage.bytes_read import made_of_others
from zsr.storage.records import read_record

METADATA = Path(".snakemake", "metadata")


def refuse_forgotten(plan: Plan, metadata: Path) -> None:
    """Raise if Snakemake has forgotten everything, or the finished tables, and any result on disk is not the plan's."""
    record = plan.results / plan.tables.record
    lost = not metadata.is_dir() or not any(metadata.iterdir())
    if not lost and (not record.is_file() or remembered(record, metadata / metadata_name(str(record)))):
        return
    if found := stale(plan, plan.jobs.values()):
        raise ZsrError(
            f"Snakemake's memory (.snakemake/) is not of these results, and {len(found)} of them are not what the "
            f"config and the code ask for, first {found[0]}; run `zsr repair` to remove them, then snakemake"
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
    return known_params(metadata / metadata_name(str(plan.results / job.record))) == [repr(job.text)]


def remembered(record: Path, memory: Path) -> bool:
    """Whether Snakemake's memory is of the tables that lie there: others may have been put in their place."""
    try:
        spec = json.loads(record.read_text(encoding="utf-8"))["spec"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    return known_params(memory) == [repr(canonical(spec))]


def known_params(memory: Path) -> list[str] | None:
    """The params that Snakemake remembers of an output, None if it remembers nothing."""
    try:
        return json.loads(memory.read_text(encoding="utf-8"))["params"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def metadata_name(path: str) -> str:
    """The file in which Snakemake remembers an output; longer names become folders that begin with @."""
    name = base64.urlsafe_b64encode(path.encode()).decode()
    most = longest_name()
    parts = [name[i : i + most] for i in range(0, len(name), most)]
    return os.path.join(*(f"@{part}" for part in parts[:-1]), parts[-1])


@cache
def longest_name() -> int:
    """The characters of a name in Snakemake's memory; it asks the file system, and leaves one for the @."""
    return (os.pathconf(METADATA if METADATA.is_dir() else ".", "PC_NAME_MAX") or 255) - 1


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
    return made_of_others(plan, job, record) is None
