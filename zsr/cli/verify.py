"""`zsr verify`: is every result what it says? Bytes and specs, stored examples scored again, tables counted again."""

import argparse
from collections.abc import Iterator

from zsr.checks.changed_files import changed_file
from zsr.checks.stale_results import on_disk
from zsr.cli import plan_of
from zsr.errors import ZsrError, system_error
from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan
from zsr.storage.input_hashes import changed_input
from zsr.storage.records import REPAIR, check_digest, read_record


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="print only what is wrong")
    parser.add_argument("--seals", action="store_true", help="bytes, seals and specs alone: seconds, no network runs")


def run(given: argparse.Namespace) -> int:
    plan = plan_of(given)
    bad = {job: line for job in plan.jobs.values() if (line := _fault_or_refusal(plan, job))}
    missing = [job for job in plan.jobs.values() if job not in bad and not on_disk(plan, job)]
    checked = len(plan.jobs) - len(missing)
    if not checked:
        raise ZsrError(f"{plan.results}: there is nothing to verify; run snakemake first")
    lines = list(bad.values())
    summary = [f"{checked} results checked, {len(bad)} wrong, {len(missing)} not there"]
    if not given.seals:
        faults, counts = _compute_again(plan, set(bad) | set(missing))
        lines += faults
        summary += counts
    for line in lines:
        print(line)
    if not given.quiet:
        print("; ".join(summary))
    return 1 if lines or missing else 0


def _compute_again(plan: Plan, unusable: set[PlannedJob]) -> tuple[list[str], list[str]]:
    """Faults of cells and tables, and their part of the summary. `unusable`: jobs whose files cannot be read."""
    from zsr.checks import verify

    cells = [job for job in plan.cells if job not in unusable and not set(job.needs.values()) & unusable]
    scores = verify.rescore_cells(plan, cells)
    faults = list(scores.faults)
    counts = [
        f"{scores.examples} stored examples scored again, {scores.confirmed} confirmed",
        f"{scores.clean} clean predictions confirmed",
        f"{scores.close} margins below 1e-4 counted apart",
    ]
    if cells and not scores.examples and not scores.wanted:
        faults.append(
            "no adversarial example is stored, so no verdict can be confirmed: write `store: examples` in a protocol, "
            "or verify bytes and specs alone with --seals"
        )
    if plan.tables not in unusable and len(scores.rows) == len(plan.cells):
        recount = verify.recount_tables(plan, scores.rows)
        faults += recount.faults
        counts.append(f"{recount.checked} numbers of the tables recounted, {len(recount.faults)} wrong")
    else:
        counts.append("tables not recounted, results are missing")
    return faults, counts


def faults(plan: Plan) -> Iterator[str]:
    """One line for every result that cannot be believed."""
    return (line for job in plan.jobs.values() if (line := _fault_or_refusal(plan, job)))


def _fault_or_refusal(plan: Plan, job: PlannedJob) -> str | None:
    """`fault` for a list: a file that the system refuses is a line of its own."""
    try:
        return fault(plan, job)
    except OSError as error:
        return not_checked(error)


def not_checked(error: OSError) -> str:
    """The line for a result whose file the system does not let us read: the result may be right."""
    return str(system_error(error.filename, error, "mend the permissions or the disk"))


def fault(plan: Plan, job: PlannedJob) -> str | None:
    """What is wrong with a result, or None if it is not there or is right; what cannot be read is an OSError."""
    record = plan.results / job.record
    if not record.is_file():
        return None
    try:
        made = read_record(record, job.hash)
        if job.rule == "prepare" and (path := changed_file(plan, job)):
            return f"{path}: another file than the one that it was made of"
        check_files(plan, job, made)
        if role := changed_input(plan, job, made):
            return f"{record}: made of other {role} than what lies there now; {REPAIR}"
    except ZsrError as error:
        return str(error)
    return None


def check_files(plan: Plan, job: PlannedJob, record: dict) -> None:
    """Refuse a record without what every record has, and files that are not those that it names."""
    for name in ("spec", "seconds", "versions", "code_files"):
        record[name]  # one that is missing is refused by name
    names = job.outputs.keys() - {"record"}
    if record["digests"].keys() != names:
        path = plan.results / job.record
        raise ZsrError(f"{path}: its digests are not of {', '.join(sorted(names))}, which the job makes; {REPAIR}")
    for name, wanted in record["digests"].items():
        check_digest(plan.results / job.outputs[name], wanted)
