"""`zsr adopt`: tell Snakemake of right results that it does not remember, as after a copy or in a fresh clone.

Seals, digests, specs and what each result was made of are checked first, and nothing is adopted while one result is
wrong. Then Snakemake itself writes its memory and the times of files (`--touch`), so its format is its own affair.
"""

import argparse
import subprocess
import sys
from collections.abc import Collection
from contextlib import nullcontext

from zsr.checks.snakemake_memory import METADATA
from zsr.checks.stale_results import forgotten, on_disk
from zsr.cli import plan_of
from zsr.cli.verify import faults
from zsr.errors import ZsrError
from zsr.plan import fingerprint
from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan
from zsr.registry import ROOT
from zsr.storage import run_lock


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", "-n", action="store_true", help="check, and say how many would be adopted")


def run(given: argparse.Namespace) -> int:
    plan = plan_of(given)
    with nullcontext() if given.dry_run else run_lock.holding(plan.results):
        new, right = set(forgotten(plan, METADATA)), set(complete(plan))
        if new and (wrong := list(faults(plan))):
            raise ZsrError(
                f"{len(wrong)} results are wrong, and nothing was adopted; run `zsr repair`, then `zsr adopt` again; "
                f"the first: {wrong[0]}"
            )
        if new and not given.dry_run:
            fingerprint.forget()
            refuse_edited(plan, plan_of(given))
            touch(plan, given.configfile, right)
    gone = sum(not on_disk(plan, job) for job in plan.jobs.values())
    left = new - right if given.dry_run else set(forgotten(plan, METADATA))
    print(f"{len(new - left)} results {'to adopt' if given.dry_run else 'adopted'}")
    if gone:
        print(f"{gone} results are not there, and {len(left - right)} were made of them: snakemake makes these")
    for job in left & right:
        print(f"not adopted: {job.title}; snakemake does not plan it here, as where a local file that it reads is gone")
    return 0


def refuse_edited(before: Plan, now: Plan) -> None:
    """The check took a while; Snakemake would remember the specs of code that was edited meanwhile."""
    if [job.hash for job in before.jobs.values()] != [job.hash for job in now.jobs.values()]:
        raise ZsrError("code or config changed while results were checked, and nothing was adopted; run it again")


def complete(plan: Plan) -> list[PlannedJob]:
    """The jobs whose result is there, and so are all results that it was made of."""
    whole: dict[PlannedJob, None] = {}
    for job in plan.jobs.values():  # each comes after what it reads
        if on_disk(plan, job) and all(other in whole for others in plan.reads(job).values() for other in others):
            whole[job] = None
    return list(whole)


def touch(plan: Plan, configfile: str, jobs: Collection[PlannedJob]) -> None:
    """Let Snakemake write down that these results are finished, in the order in which they were made."""
    targets = [str(plan.results / job.record) for job in jobs] if len(jobs) < len(plan.jobs) else ["all"]
    snakefile = ["--snakefile", str(ROOT / "Snakefile"), "--configfile", configfile]
    options = ["--touch", "--forceall", "--no-hooks", "--cores", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *snakefile, *options, *targets],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="surrogateescape",
    )  # fmt: skip
    if done.returncode:
        said = " ".join(done.stdout.split()[-60:])
        raise ZsrError(f"Snakemake could not adopt the results: {said}")
