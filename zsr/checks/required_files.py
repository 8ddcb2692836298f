"""What a config needs of a disk before anything starts: archives that are there, missing or damaged, and room."""

import glob
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zsr.data.sources import Sources, data_root, verify
from zsr.data.transforms import pixels
from zsr.env_paths import expand, refusal, unset
from zsr.errors import ZsrError
from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan


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
    seen = set()
    for job in preparations(plan):
        sources = Sources.of(job.spec["source"])
        for name, entry in sources.files.items():
            path = sources.folder / name
            if path not in seen:
                seen.add(path)
                yield _look(job.wildcards["dataset"], sources, path, entry, deep)
        if job.spec["reader"] == "parquet" and not sources.files:
            yield from _tables(job, sources, seen)


def _tables(job: PlannedJob, sources: Sources, seen: set[Path]) -> Iterator[Need]:
    """The tables that a `path` with `*` and variables finds: what a config says itself, no set's file."""
    path = sources.folder / expand(job.spec["options"]["path"].replace("{split}", job.spec["split"]))
    found = [Path(name) for name in sorted(glob.glob(str(path)))]
    for one in found or [path]:
        if one not in seen:
            seen.add(one)
            advice = "" if found else f"{one}: no such file; {sources.missing or 'place it there'}"
            state = "present" if found else "missing"
            yield Need(job.wildcards["dataset"], one, state, one.stat().st_size if found else 0, advice)


def check_variables(plan: Plan) -> None:
    """One line for a path of the config with a variable that is not set, before anything starts."""
    for job in preparations(plan):
        for value in job.spec["options"].values():
            if isinstance(value, str) and (name := unset(value)):
                raise ZsrError(f"data '{job.wildcards['dataset']}': {refusal(value, name)}")
    for record, files in plan.upstream.files.items():
        for value in files.values():
            if name := unset(value):
                raise ZsrError(f"{plan.graph.owner(record).title}: {refusal(value, name)}")


def _look(dataset: str, sources: Sources, path: Path, entry: dict, deep: bool) -> Need:
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


def room(plan: Plan) -> dict[str, tuple[Path, int, int]]:
    """what for -> (a folder on that disk, bytes that will be written there, bytes that are free)."""
    prepared = sum(size_of(plan, job) for job in preparations(plan) if not (plan.results / job.record).is_file())
    fetched = sum(need.bytes for need in missing(plan)) if plan.config.download else 0
    found = {}
    for what, folder, size in (("prepared images", plan.results, prepared), ("archives", data_root(), fetched)):
        place = folder.absolute()
        while not place.exists():
            place = place.parent
        found[what] = (place, size, shutil.disk_usage(place).free)
    return found


def missing(plan: Plan) -> list[Need]:
    """Files that are not there; nothing is read, so that it costs nothing at the start of every run."""
    found = {}
    for job in preparations(plan):
        sources = Sources.of(job.spec["source"])
        for name, entry in sources.files.items():
            if sources.present(name) is None:
                path = sources.folder / name
                found[path] = Need(job.wildcards["dataset"], path, "missing", entry.get("bytes") or 0)
    return list(found.values())


def size_of(plan: Plan, job: PlannedJob) -> int:
    """Bytes of a prepared split; of a split that stays encoded, those of its archives."""
    spec = job.spec
    if spec["encoded"]:
        return sum(entry.get("bytes") or 0 for entry in spec["source"]["files"])
    definition = plan.config.datasets[job.wildcards["dataset"]]
    count = spec["count"] or definition.splits[spec["split"]]
    return count * (pixels(spec["transform"], definition.size) or 0)


def shortages(plan: Plan) -> list[str]:
    """One line for each disk that will not suffice."""
    lines = []
    total: dict[int, list] = {}
    for what, (place, size, free) in room(plan).items():
        entry = total.setdefault(place.stat().st_dev, [place, 0, free, []])
        entry[1] += size
        entry[3].append(what)
    for place, size, free, whats in total.values():
        if size > free:
            lines.append(
                f"{place}: {' and '.join(whats)} need {size / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; make room, or "
                "move `results` or `data_root`"
            )
    return lines
