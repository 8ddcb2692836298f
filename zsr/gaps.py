"""Gaps: results that are gone though others that were made of them are there.

`rule all` asks for every file. Where the user names a target (`snakemake results/report.html`), Snakemake looks for
what the target reads, and not for what that was made of in its turn: the page would keep numbers of data that is gone.
"""

import os
from collections.abc import Iterable

from zsr.graph import Job
from zsr.plan import Plan


def gaps(plan: Plan, targets: Iterable[str]) -> list[str]:
    """The files beneath some targets (rules or files) that are gone though a result that was made of them is there."""
    jobs = beneath(plan, [job for target in targets for job in named(plan, target)])
    read = {other: None for job in jobs if whole(plan, job) for others in plan.reads(job).values() for other in others}
    return [path for job in read for path in files(plan, job) if not os.path.exists(path)]


def beneath(plan: Plan, jobs: Iterable[Job]) -> list[Job]:
    """These jobs and all that their results are made of."""
    found = dict.fromkeys(jobs)
    waiting = list(found)
    while waiting:
        for others in plan.reads(waiting.pop()).values():
            waiting += (new := [other for other in others if other not in found])
            found |= dict.fromkeys(new)
    return list(found)


def named(plan: Plan, target: str) -> list[Job]:
    """The jobs of a rule, or the one that makes a file."""
    owner = plan.owner(os.path.relpath(target, plan.results))
    return [owner] if owner else [job for job in plan.jobs.values() if job.rule == target]


def whole(plan: Plan, job: Job) -> bool:
    """Whether all files of a result are there; Snakemake itself sees that a target's are not."""
    return all(map(os.path.exists, files(plan, job)))


def files(plan: Plan, job: Job) -> list[str]:
    return [str(plan.results / path) for path in job.outputs.values()]
