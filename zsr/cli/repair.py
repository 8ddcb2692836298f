"""`zsr repair`: remove what cannot be believed, record and files, so that Snakemake makes it again."""

import argparse
from contextlib import nullcontext

from zsr import runlock
from zsr.cli import plan_of
from zsr.cli.verify import fault
from zsr.plan import Plan


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", "-n", action="store_true", help="say what would be removed")


def run(given: argparse.Namespace) -> int:
    plan = plan_of(given)
    with nullcontext() if given.dry_run else runlock.holding(plan.results):
        removed = repair(plan, given.dry_run)
    print(f"{removed} results {'to remove' if given.dry_run else 'removed'}" + ("; run snakemake" if removed else ""))
    return 0


def repair(plan: Plan, dry_run: bool) -> int:
    """How many results are damaged or stale; they are removed unless it is a dry run."""
    removed = 0
    for job in plan.jobs.values():
        line = fault(plan, job)
        if line is None:
            continue
        removed += 1
        print(f"{'would remove' if dry_run else 'removed'} {job.title}: {line}")
        if not dry_run:
            for path in job.outputs.values():
                (plan.results / path).unlink(missing_ok=True)
    return removed
