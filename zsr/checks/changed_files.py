"""Checks that the files of a prepared split are still those that it was made of.

The bytes of a data file are in no spec, so results would stay if a file were replaced. Each preparation therefore notes
what it read, and the plan compares: one `stat` for each file, and a digest where size or time have changed. Folders of
single pictures are not compared, and neither is a file that is gone.
"""

from pathlib import Path

from zsr.data.sources import data_root, known_digest, note_of, state_of
from zsr.env_paths import expand, unset
from zsr.errors import ZsrError
from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan
from zsr.storage.records import read_record


def refuse_changed(plan: Plan) -> None:
    """Raise, with the cure, if a prepared split was made of other files than those that lie there."""
    for job in plan.jobs.values():
        if job.rule == "prepare" and (path := changed_file(plan, job)):
            raise ZsrError(
                f"{path}: another file than the one that {plan.results / job.outputs['images']} was made of; if that "
                f"is meant, remove {note_of(path)} and run `zsr repair`, then snakemake"
            )


def changed_file(plan: Plan, job: PlannedJob) -> Path | None:
    """The first file that is no longer the one that a preparation on disk read, or None."""
    try:
        made = read_record(plan.results / job.record)
    except ZsrError:
        return None  # not made yet, or damaged: whoever reads it says so
    for name, state in made.get("states", {}).items():
        if unset(name):
            continue
        path = data_root(plan.config.data_root) / job.spec["source"]["folder"] / expand(name)
        if path.is_file() and state_of(path) != state and known_digest(path) != made["files"][name]:
            return path
    return None
