"""`zsr status`: how far each kind of job is, what runs, and how much work is left."""

import argparse
import os
import statistics
from collections import Counter, defaultdict

from zsr.checks.snakemake_memory import unfinished_outputs
from zsr.cli import plan_of
from zsr.cli.values import positive
from zsr.errors import ZsrError
from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan
from zsr.storage.records import read_record

ORDER = (
    "prepare",
    "pretrain",
    "fetch",
    "join",
    "heads",
    "adopt",
    "publish",
    "finetune",
    "interpolate",
    "promote",
    "texts",
    "evaluate",
    "shard",
    "merge",
    "tables",
    "figures",
    "gallery",
    "report",
)
STATES = ("done", "running", "stale", "missing")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--missing", action="store_true", help="name every job that is not done")
    parser.add_argument("--cores", type=positive, help="cores that work side by side (default: all of this machine)")


def run(given: argparse.Namespace) -> int:
    plan = plan_of(given)
    busy = unfinished_outputs()
    states, seconds = {}, {}
    for job in plan.jobs.values():
        states[job], seconds[job] = state(plan, job, busy)
    counts = Counter((job.rule, now) for job, now in states.items())
    costs = Costs({job: seconds[job] for job, now in states.items() if now == "done"})
    left = {job: costs.expected(job) for job, now in states.items() if now != "done"}
    print(f"{'':10}" + "".join(f" {name:>8}" for name in STATES) + f" {'work left':>12}")
    for rule in [rule for rule in ORDER if any(job.rule == rule for job in states)]:
        row = "".join(f" {counts[rule, name]:8}" for name in STATES)
        print(f"{rule:10}{row} {_work([cost for job, cost in left.items() if job.rule == rule]):>12}")
    print(_summary(left, plan, given.cores or os.cpu_count() or 1))
    for name, sets in plan.left_out.items():
        print(f"{name}: not zero-shot, it cannot classify {', '.join(sets)}")
    if given.missing:
        for job, now in states.items():
            if now != "done":
                print(f"{now}: {job.title}")
    return 0


def state(plan: Plan, job: PlannedJob, busy: set[str]) -> tuple[str, float]:
    """(done, running, stale: of another spec or damaged, or missing; the seconds that it took if it is done).

    A job is done when all its files are there. Their bytes are read by `zsr verify`; here 10,000 results cost seconds.
    """
    if str(plan.results / job.record) in busy:
        return "running", 0.0
    if not all((plan.results / path).is_file() for path in job.outputs.values()):
        return "missing", 0.0
    try:
        return "done", float(read_record(plan.results / job.record, job.hash)["seconds"])
    except ZsrError:
        return "stale", 0.0


class Costs:
    """What a job will cost, from the finished jobs most like it: the median of their measured seconds."""

    def __init__(self, seconds: dict[PlannedJob, float]) -> None:
        self._known: dict[tuple, list[float]] = defaultdict(list)
        for job, cost in seconds.items():
            for kind in self._kinds(job):
                self._known[kind].append(cost)

    @staticmethod
    def _kinds(job: PlannedJob) -> list[tuple]:
        """From the most to the least alike: a cell's attack matters more than its set, a training's method most."""
        method, attack, reader = (str(job.spec.get(name)) for name in ("method", "attack", "reader"))
        backbone = job.needs["backbone"].hash if "backbone" in job.needs else ""
        alike = (job.rule, method, attack, reader, backbone)
        return [(*alike, job.wildcards.get("dataset", "")), alike, (job.rule, attack), (job.rule,)]

    def expected(self, job: PlannedJob) -> float | None:
        """Seconds; None where no job of the kind has finished yet."""
        known = next((self._known[kind] for kind in self._kinds(job) if kind in self._known), None)
        return statistics.median(known) if known else None


def _work(costs: list[float | None]) -> str:
    known = [cost for cost in costs if cost is not None]
    if not costs:
        return "–"
    return span(sum(known)) + ("" if len(known) == len(costs) else " + ?") if known else "?"


def _summary(left: dict[PlannedJob, float | None], plan: Plan, cores: int) -> str:
    if not left:
        return "everything is done"
    known = [cost for cost in left.values() if cost is not None]
    side = max(1, cores // plan.config.threads) if plan.config.device == "cpu" else 1
    unknown = len(left) - len(known)
    line = f"{len(left)} of {len(plan.jobs)} jobs left"
    if known:
        longest = max(sum(known) / side, max(known))
        line += f": about {span(sum(known))} of work, {span(longest)} with {side} at a time"
    if unknown:
        line += (
            f"; {unknown} of a kind that has not finished once" if known else "; none of their kind has finished yet"
        )
    return line


def span(seconds: float) -> str:
    """'40 s', '12 min', '3 h 20 min'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
