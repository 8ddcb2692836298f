"""Hashes of the bytes that a job read; its record keeps them, so that a result of other inputs is noticed.

A spec names the inputs of a job by their specs alone, and data that was replaced has the same spec. File times show the
difference only until the results are copied.
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


def input_hashes_of(plan: "Plan", job: "PlannedJob") -> dict[str, str]:
    """role -> the hash of the results on disk that a job reads."""
    return {
        role: hash_of(read_record(plan.results / other.record, other.hash) for other in others)
        for role, others in plan.reads(job).items()
    }


def changed_input(plan: "Plan", job: "PlannedJob", record: dict) -> str | None:
    """The first role whose bytes on disk are not those that the job read, or None.

    An input that is missing or damaged is passed over: it is reported as a fault of its own.
    """
    for role, others in plan.reads(job).items():
        try:
            on_disk = hash_of(read_record(plan.results / other.record) for other in others)
        except ZsrError:
            continue
        if record.get("read", {}).get(role) != on_disk:
            return role
    return None
