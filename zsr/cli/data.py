"""`zsr data check`: what the config's datasets need, what of it is there, and whether the disk suffices."""

import argparse
from collections import Counter

from zsr.checks import required_files
from zsr.cli import plan_of
from zsr.data.decode import gigabytes
from zsr.data.sources import tell_jobs


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["check"])
    parser.add_argument("--deep", action="store_true", help="read every archive again, also those that were checked")


def run(given: argparse.Namespace) -> int:
    plan = plan_of(given)
    tell_jobs(plan.config.data_root, plan.config.download)
    required_files.check_variables(plan)
    counts: Counter = Counter()
    bad = False
    for need in required_files.files(plan, given.deep):
        counts[need.state] += 1
        fetched = need.state == "missing" and plan.config.download and _has_link(plan, need)
        size = gigabytes(need.bytes) if need.bytes else "size unknown"
        print(f"{'to fetch' if fetched else need.state:9} {need.dataset:20} {need.path} ({size})")
        if need.advice and not fetched:
            print(f"{'':9} {need.advice}")
        bad = bad or need.state == "damaged" or (need.state == "missing" and not fetched)
    states = ", ".join(f"{counts[state]} {state}" for state in ("present", "unpacked", "missing", "damaged"))
    print(f"{sum(counts.values())} files: {states}")
    rooms = required_files.room(plan)
    for room in rooms:
        print(f"{room.purpose}: {gigabytes(room.needed)} to be written, {gigabytes(room.free)} free ({room.folder})")
    shortages = required_files.shortages(rooms)
    for line in shortages:
        print(line)
    return 1 if bad or shortages else 0


def _has_link(plan: required_files.Plan, need: required_files.Need) -> bool:
    """Whether a missing file can be fetched at all."""
    for job in required_files.preparations(plan):
        sources = required_files.Sources.of(job.spec["source"])
        if need.path.parent == sources.folder and sources.files.get(need.path.name, {}).get("urls"):
            return True
    return False
