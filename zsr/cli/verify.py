"""`zsr verify`: every result that the plan lists is there, whole, and of the spec that the plan asks for."""

import argparse

from zsr.cli import plan_of
from zsr.errors import ZsrError
from zsr.plan import Job, Plan
from zsr.store import check_digest, read_record


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="print only what is wrong")


def run(given: argparse.Namespace) -> int:
    plan = plan_of(given)
    wrong = list(faults(plan))
    for line in wrong:
        print(line)
    missing = [job for job in plan.jobs.values() if not (plan.results / job.record).is_file()]
    checked = len(plan.jobs) - len(missing)
    if not given.quiet:
        print(f"{checked} results checked, {len(wrong)} wrong, {len(missing)} not there")
    if not checked:
        raise ZsrError(f"{plan.results}: there is nothing to verify; run snakemake first")
    return 1 if wrong or missing else 0


def faults(plan: Plan) -> list[str]:
    """One line for every result that cannot be believed."""
    return [line for job in plan.jobs.values() if (line := fault(plan, job))]


def fault(plan: Plan, job: Job) -> str | None:
    """What is wrong with a result, or None if it is not there or is right."""
    record = plan.results / job.record
    if not record.is_file():
        return None
    try:
        digests = read_record(record, job.hash)["digests"]
        for name, wanted in digests.items():
            check_digest(plan.results / job.outputs[name], wanted)
    except ZsrError as error:
        return str(error)
    return None
