"""`zsr status`: how far each kind of job is."""

import argparse
from collections import Counter

from zsr.cli import plan_of
from zsr.memory import believable, on_disk
from zsr.plan import Job, Plan

ORDER = ("prepare", "pretrain", "heads", "adopt", "finetune", "evaluate", "tables", "figures", "report")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--missing", action="store_true", help="name every job that is not done")


def run(given: argparse.Namespace) -> int:
    plan = plan_of(given)
    states = {job: state(plan, job) for job in plan.jobs.values()}
    counts = Counter((job.rule, found) for job, found in states.items())
    print(f"{'':10} {'done':>7} {'stale':>7} {'missing':>7}")
    for rule in ORDER:
        row = [counts[rule, column] for column in ("done", "stale", "missing")]
        if sum(row):
            print(f"{rule:10} {row[0]:7} {row[1]:7} {row[2]:7}")
    if given.missing:
        for job, found in states.items():
            if found != "done":
                print(f"{found}: {job.title}")
    return 0


def state(plan: Plan, job: Job) -> str:
    """done, stale (of another spec, or damaged), or missing."""
    if not on_disk(plan, job):
        return "missing"
    return "done" if believable(plan, job) else "stale"
