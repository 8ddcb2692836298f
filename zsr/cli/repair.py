"""`zsr repair`: remove what cannot be believed, record and files, so that Snakemake makes it again."""

import argparse
from contextlib import nullcontext

from zsr.cli import plan_of
from zsr.cli.verify import fault, not_checked
from zsr.plan.plan import Plan
from zsr.storage import run_lock


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", "-n", action="store_true", help="say what would be removed")


def run(given: argparse.Namespace) -> int:
    plan = plan_of(given)
    with nullcontext() if given.dry_run else run_lock.holding(plan.results):
        removed, unread = repair(plan, given.dry_run)
    print(f"{removed} results {'to remove' if given.dry_run else 'removed'}" + ("; run snakemake" if removed else ""))
    return 1 if unread else 0


def repair(plan: Plan, dry_run: bool) -> tuple[int, int]:
    """(how many results are damaged or stale, how many cannot be read); the former are removed but in a dry run."""
    removed, unread = 0, 0
    for job in plan.jobs.values():
        try:
            line = fault(plan, job)
        except OSError as error:  # a disk or a permission: the result may be right
            unread += 1
            print(f"left {job.title}: {not_checked(error)}")
            continue
        if line is None:
            continue
        removed += 1
        print(f"{'would remove' if dry_run else 'removed'} {job.title}: {line}")
        if not dry_run:
            for path in job.outputs.values():
                (plan.results / path).unlink(missing_ok=True)
    return removed, unread
