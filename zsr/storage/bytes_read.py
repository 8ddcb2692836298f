"""Of which bytes a result was made: its record keeps a hash of what its job read, and anyone can compare.

A spec names what a job reads by spec, and data that was replaced has the same spec. Times of files tell the two apart
only until the results are copied.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from zsr.errors import ZsrError
from zsr.hashing import canonical, short_hash
from zsr.storage.records import read_record

if TYPE_CHECKING:
    from zsr.plan.graph import PlannedJob
    from zsr.plan.plan import Plan


def hash_of(records: Iterable[dict]) -> str:
    """One hash for the bytes of some results."""
    return short_hash(canonical([record["digests"] for record in records]))


def read_by(plan: "Plan", job: "PlannedJob") -> dict[str, str]:
    """role -> the hash of what lies there for a job to read."""
    return {
        role: hash_of(read_record(plan.results / other.record, other.hash) for other in others)
        for role, others in plan.reads(job).items()
    }


def made_of_others(plan: "Plan", job: "PlannedJob", record: dict) -> str | None:
    """The first role for which other bytes lie there than those that the job read. What is missing or damaged cannot
    be compared: it has a fault of its own."""
    for role, others in plan.reads(job).items():
        try:
            lies = hash_of(read_record(plan.results / other.record) for other in others)
        except ZsrError:
            continue
        if record.get("read", {}).get(role) != lies:
            return role
    return None
