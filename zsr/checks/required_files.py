"""What a config needs of a disk before anything starts: archives that are there, missing or damaged, and room."""

import glob
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from zsr.checks.stale_results import on_disk
from zsr.data.sources import Sources, data_root, verify
from zsr.data.transforms import pixels
from zsr.env_paths import expand, unset, unset_error
from zsr.errors import ZsrError
from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan
from zsr.storage.results_folder import nearest_existing


@dataclass(frozen=True)
class Need:
    """One file of a dataset. `state`: present, unpacked, missing or damaged."""

    dataset: str
    path: Path
    state: str
    bytes: int  # on disk, or that will be fetched; 0 where nobody knows
    advice: str = ""


def preparations(plan: Plan) -> list[PlannedJob]:
    """The jobs that read files."""
    return [job for job in plan.jobs.values() if job.rule == "prepare" and "source" in job.spec]


def files(plan: Plan, deep: bool = False) -> Iterator[Need]:
    """Every file that the config's datasets need, once; `deep` reads all bytes again."""
    listed: set[Path] = set()
    for job in preparations(plan):
        sources = Sources.of(job.spec["source"])
        for name, entry in sources.files.items():
            path = sources.folder / name
            if path not in listed:
                listed.add(path)
                yield _check(job.wildcards["dataset"], sources, path, entry, deep)
        if job.spec["reader"] == "parquet" and not sources.files:
            yield from _tables(job, sources, listed)


def _tables(job: PlannedJob, sources: Sources, listed: set[Path]) -> Iterator[Need]:
    """The tables that a `path` of the config matches; it may hold `*` and variables."""
    path = sources.folder / expand(job.spec["options"]["path"].replace("{split}", job.spec["split"]))
    tables = [Path(name) for name in sorted(glob.glob(str(path)))]
    if not tables and path not in listed:
        listed.add(path)
        advice = f"{path}: no such file; {sources.missing or 'place it there'}"
        yield Need(job.wildcards["dataset"], path, "missing", 0, advice)
    for table in tables:
        if table not in listed:
            listed.add(table)
            yield Need(job.wildcards["dataset"], table, "present", table.stat().st_size)


def check_variables(plan: Plan) -> None:
    """One line for a path of the config with a variable that is not set, before anything starts."""
    for job in preparations(plan):
        for value in job.spec["options"].values():
            if isinstance(value, str) and (name := unset(value)):
                raise ZsrError(f"data '{job.wildcards['dataset']}': {unset_error(value, name)}")
    for record, files in plan.upstream.files.items():
        for value in files.values():
            if name := unset(value):
                owner = plan.graph.owner(record)
                raise ZsrError(f"{owner.title if owner else record}: {unset_error(value, name)}")


def _check(dataset: str, sources: Sources, path: Path, entry: dict, deep: bool) -> Need:
    state = sources.present(entry["path"])
    if state is None:
        return Need(dataset, path, "missing", entry.get("bytes") or 0, sources.lacking(entry["path"]))
    if state == "unpacked":
        return Need(dataset, path, "unpacked", 0)
    try:
        verify(path, entry, deep)
    except ZsrError as error:
        return Need(dataset, path, "damaged", path.stat().st_size, str(error))
    return Need(dataset, path, "present", path.stat().st_size)


@dataclass(frozen=True)
class Room:
    """Room on a disk for one kind of file."""

    purpose: str
    folder: Path  # one that exists on that disk
    needed: int  # bytes that will be written
    free: int  # bytes


def room(plan: Plan) -> list[Room]:
    """What will be written, for each kind of file."""
    prepared = sum(size_of(plan, job) for job in preparations(plan) if not on_disk(plan, job))
    fetched = sum(need.bytes for need in missing(plan)) if plan.config.download else 0
    rooms = []
    for purpose, folder, size in (("prepared images", plan.results, prepared), ("archives", data_root(), fetched)):
        folder = nearest_existing(folder)
        rooms.append(Room(purpose, folder, size, shutil.disk_usage(folder).free))
    return rooms


def missing(plan: Plan) -> list[Need]:
    """Files that are not there; no file is read, so the start of a run does not wait."""
    needs: dict[Path, Need] = {}
    for job in preparations(plan):
        sources = Sources.of(job.spec["source"])
        for name, entry in sources.files.items():
            if sources.present(name) is None:
                path = sources.folder / name
                needs[path] = Need(job.wildcards["dataset"], path, "missing", entry.get("bytes") or 0)
    return list(needs.values())


def size_of(plan: Plan, job: PlannedJob) -> int:
    """Bytes of a prepared split; of a split that stays encoded, those of its archives."""
    spec = job.spec
    if spec["encoded"]:
        return sum(entry.get("bytes") or 0 for entry in spec["source"]["files"])
    definition = plan.config.datasets[job.wildcards["dataset"]]
    count = spec["count"] or definition.splits[spec["split"]]
    return count * (pixels(spec["transform"], definition.size) or 0)


def shortages(rooms: Iterable[Room]) -> list[str]:
    """One line for each disk that will not suffice."""
    disks: dict[int, list[Room]] = defaultdict(list)
    for kind in rooms:
        disks[kind.folder.stat().st_dev].append(kind)
    lines = []
    for kinds in disks.values():
        folder, free, needed = kinds[0].folder, kinds[0].free, sum(kind.needed for kind in kinds)
        if needed > free:
            purposes = " and ".join(kind.purpose for kind in kinds)
            lines.append(
                f"{folder}: {purposes} need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; make room, or move "
                "`results` or `data_root`"
            )
    return lines
