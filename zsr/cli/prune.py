"""`zsr prune`: results that no config asks for any more, such as those of an ε that was taken out."""

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

from zsr import config, layout
from zsr.cli import plan_of
from zsr.plan import Plan

# the folders that hold results alone; logs and benchmarks of orphans are left for people to read
FOLDERS = sorted(
    {pattern.split("/")[0] for pattern in (layout.DATA, layout.BACKBONE, layout.HEAD, layout.MODEL, layout.CELL)}
)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--delete", action="store_true", help="delete them; without it they are only listed")
    parser.add_argument(
        "--keep", nargs="+", default=[], metavar="CONFIG", help="further configs whose results lie in the same folder"
    )


def run(given: argparse.Namespace) -> int:
    plan = plan_of(given)
    others = [Plan(config.read(Path(name))) for name in given.keep]
    found = [path for path in orphans(plan) if not any(wanted(other, path) for other in others)]
    size = sum(path.stat().st_size for path in found)
    for path in found:
        print(path)
        if given.delete:
            path.unlink()
    if given.delete:
        for folder in FOLDERS:
            _remove_empty(plan.results / folder)
    print(f"{len(found)} orphans, {size / 2**20:.1f} MiB{' deleted' if given.delete else ''}")
    return 0


def orphans(plan: Plan) -> Iterator[Path]:
    """Files among the results that no job of the plan makes; what an unfinished training keeps is not one."""
    for folder in FOLDERS:
        for path in sorted((plan.results / folder).rglob("*")):
            if path.is_file() and not path.name.endswith(".part") and not wanted(plan, path):  # a part is being written
                yield path


def wanted(plan: Plan, path: Path) -> bool:
    """Whether a job of the plan makes a file, or keeps it beside what it makes."""
    try:
        name = path.relative_to(plan.results)
    except ValueError:
        return False  # the other config has another folder
    return bool(plan.owner(str(name)) or plan.owner(f"{name.parent}/manifest.json") or "tensorboard" in path.parts)


def _remove_empty(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            shutil.rmtree(path)
