"""`zsr prune`: results that no config asks for any more, such as those of an ε that was taken out.

Only what zsr made is listed: a file in the place of a result that has its sealed record, and in a folder that zsr made
(it has a marker, `zsr.storage.results_folder`) also one without, such as the checkpoint of an unfinished training.
"""

import argparse
import re
from collections.abc import Iterator
from contextlib import nullcontext
from functools import cache
from pathlib import Path

from zsr.cli import plan_of
from zsr.config.text import read
from zsr.errors import ZsrError, system_error
from zsr.plan.plan import Plan
from zsr.storage import layout, run_lock
from zsr.storage.results_folder import MARKER, is_marked, is_record

# the folders that hold results alone; logs and benchmarks of orphans are left for people to read
FOLDERS = sorted(
    {pattern.split("/")[0] for pattern in (layout.DATA, layout.BACKBONE, layout.HEAD, layout.MODEL, layout.CELL)}
)
MANIFEST = "/manifest.json"
TEMPORARY = r"(?:(?:\.part)?\.\d+\.tmp)?"  # of a job that was killed while it wrote
# what a job keeps beside its manifest while it is unfinished, or leaves for people to look at
KEPT = r"last\.ckpt|\.last\.ckpt\.\d+\.tmp|tensorboard/events\.out\.[^/]+|\.{1,2}images\.npy\.part\.\w+\.done\.npy"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--delete", action="store_true", help="delete them; without it they are only listed")
    parser.add_argument(
        "--keep", nargs="+", default=[], metavar="CONFIG", help="further configs whose results lie in the same folder"
    )


def run(given: argparse.Namespace) -> int:
    plan = plan_of(given)
    with run_lock.holding(plan.results) if given.delete else nullcontext():
        return prune(plan, given)


def prune(plan: Plan, given: argparse.Namespace) -> int:
    """List the orphans, and delete them where that is asked for."""
    plans = [plan, *(_other(plan, Path(name)) for name in given.keep)]
    unwanted, foreign = orphans(plan.results, plans)
    size = sum(path.stat().st_size for path in unwanted)
    for path in unwanted:
        print(path)
        if given.delete:
            _delete(path, plan.results)
    print(f"{len(unwanted)} orphans, {size / 2**20:.1f} MiB{' deleted' if given.delete else ''}")
    if foreign:
        print(f"{foreign} files stay, of which nothing says that zsr made them")
    if not is_marked(plan.results) and plan.results.is_dir():
        print(f"{plan.results} has no marker {MARKER}, so only files with a record of zsr were looked for")
    return 0


def _other(plan: Plan, path: Path) -> Plan:
    """The plan of another config whose results lie in the same folder."""
    other = Plan(read(path))
    if other.results.resolve() != plan.results.resolve():
        raise ZsrError(f"--keep {path}: its results lie in {other.results}, not in {plan.results}; leave it out")
    return other


def orphans(results: Path, plans: list[Plan]) -> tuple[list[Path], int]:
    """(files that zsr made and no job of the plans makes, how many others there are that no job makes)."""
    marked = is_marked(results)
    unwanted, foreign = [], 0
    for name in _files(results):
        if any(wanted(plan, name) for plan in plans):
            continue
        if made(results, name, marked):
            unwanted.append(results / name)
        else:
            foreign += 1
    return unwanted, foreign


def _files(results: Path) -> Iterator[str]:
    """Names below the results folder, without those of files that a job is writing."""
    for folder in FOLDERS:
        for path in sorted((results / folder).rglob("*")):
            if path.is_file() and not path.name.endswith(".part"):
                yield path.relative_to(results).as_posix()


def wanted(plan: Plan, name: str) -> bool:
    """Whether a job of a plan makes a file, or keeps it beside what it makes."""
    if plan.graph.owner(name) is not None:
        return True
    record = record_of(name)
    return record is not None and plan.graph.owner(record) is not None


def made(results: Path, name: str, marked: bool) -> bool:
    """Whether zsr made a file: it lies where a result does, with its record or in a folder of zsr's own."""
    record = record_of(name)
    return record is not None and (marked or is_record(results / record))


def record_of(name: str) -> str | None:
    """The record that belongs to a file; None if no job makes or keeps a file in such a place."""
    for pattern, record in _patterns():
        if match := pattern.fullmatch(name):
            return record.format(**match.groupdict())
    return None


@cache
def _patterns() -> list[tuple[re.Pattern, str]]:
    """(names of files that a kind of job makes or keeps, the path pattern of its record)."""
    patterns = []
    for files in layout.OUTPUTS.values():
        record = files["record"]
        for output in files.values():
            folder, _, name = _named(output).rpartition("/")
            patterns.append((re.compile(rf"{folder}/\.{{0,2}}{name}{TEMPORARY}"), record))
        if record.endswith(MANIFEST):
            patterns.append((re.compile(rf"{_named(record.removesuffix(MANIFEST))}/(?:{KEPT})"), record))
    return patterns


def _named(pattern: str) -> str:
    """The regular expression of a path pattern: wildcards are parts of names."""
    parts = re.split(r"\{(\w+)\}", pattern)
    return "".join(rf"(?P<{part}>[\w.-]+)" if i % 2 else re.escape(part) for i, part in enumerate(parts))


def _delete(path: Path, results: Path) -> None:
    """The file, and the folders below the results that are empty without it."""
    try:
        path.unlink()
        for folder in path.relative_to(results).parents[:-2]:  # not `models` itself
            if any((results / folder).iterdir()):
                break
            (results / folder).rmdir()
    except OSError as error:
        raise system_error(path, error, "", "cannot be deleted") from error
