"""kill -9 at random moments of a run: used by the suite with a handful of kills, and by benchmarks/faults.py with many.

A kill waits until a job of a wanted kind runs, then a random moment more, and ends the job, Snakemake, or everything at
once (as when the machine loses power). Before each start it is noted which jobs Snakemake remembers as finished; they
must never be made again.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from support.project import Project
from zsr.checks.snakemake_memory import name_of_output
from zsr.plan.plan import Plan

VICTIMS = ("job", "snakemake", "everything")


@dataclass
class Killed:
    """What was ended, and what ran at that moment."""

    victim: str
    running: list[str]


@dataclass
class Report:
    kills: list[Killed] = field(default_factory=list)
    again: list[str] = field(default_factory=list)  # finished results that were made again
    orphans: int = 0  # jobs that outlived Snakemake
    digests: dict[str, dict] = field(default_factory=dict)


def torment(project: Project, wanted: list[str], seed: int, longest: float = 2.0) -> Report:
    """Run the workflow to its end, with one kill for each entry of `wanted` (names of rules), as far as they run."""
    dice, report, plan = random.Random(seed), Report(), Plan(project.config)
    left = list(wanted)
    while left:
        before = finished(project, plan)
        running = start(project)
        try:
            while (rule := wait_for_any(project, running, left)) is not None:
                left.remove(rule)
                time.sleep(dice.uniform(0, longest))
                victim = dice.choice(VICTIMS)
                kill(project, running, victim, dice, report)
                if victim != "job":
                    break  # a lost job leaves Snakemake running with what does not depend on it
            code = running.wait(900)
        finally:
            end(running)
        report.orphans += len(survivors(project))
        report.again += changed(project, plan, before)
        if rule is None and code == 0:
            break  # nothing of what is left will run any more
        unlock(project)
    before = finished(project, plan)
    project.snakemake()
    report.again += changed(project, plan, before)
    report.digests = digests(project, plan)
    return report


def start(project: Project) -> subprocess.Popen:
    """Snakemake in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "2"], cwd=project.folder, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(project.folder)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def jobs(project: Project) -> dict[int, str]:
    """Process -> rule, of the jobs that work in this project's folder."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            here = (entry / "cwd").resolve() == project.folder.resolve()
            state = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except OSError:
            continue  # it has just ended
        if here and state != "Z" and len(words) > 3 and words[3].startswith("workflow.scripts."):
            found[int(entry.name)] = words[3].removeprefix("workflow.scripts.")
    return found


def wait_for_any(project: Project, running: subprocess.Popen, wanted: list[str]) -> str | None:
    """The rule of a job that runs and is wanted; None if Snakemake ended before."""
    while running.poll() is None:
        for rule in jobs(project).values():
            if rule in wanted:
                return rule
        time.sleep(0.02)
    return None


def kill(project: Project, running: subprocess.Popen, victim: str, dice: random.Random, report: Report) -> None:
    found = jobs(project)
    report.kills.append(Killed(victim, sorted(found.values())))
    print(f"kill {len(report.kills)}: {victim} while {sorted(found.values())}", file=sys.stderr, flush=True)
    if victim == "everything":
        targets = [running.pid, *found]
    elif victim == "snakemake" or not found:
        targets = [running.pid]
    else:
        targets = [dice.choice(sorted(found))]
    for target in targets:
        try:
            os.kill(target, signal.SIGKILL)
        except ProcessLookupError:
            continue  # it has just ended by itself


def end(running: subprocess.Popen) -> None:
    if running.poll() is None:
        running.kill()
        running.wait()


def survivors(project: Project, seconds: float = 30) -> dict[int, str]:
    """Jobs that still run so long after Snakemake has ended."""
    until = time.monotonic() + seconds
    while (left := jobs(project)) and time.monotonic() < until:
        time.sleep(0.1)
    return left


def unlock(project: Project) -> None:
    if any((project.folder / ".snakemake/locks").glob("*")):
        project.snakemake("--unlock")


def finished(project: Project, plan: Plan) -> dict[str, tuple]:
    """record -> identity of the file, of all jobs that Snakemake remembers as finished."""
    memory = project.folder / ".snakemake"
    found = {}
    for job in plan.jobs.values():
        name = str(plan.results / job.record)
        path, remembered = project.folder / name, memory / "metadata" / name_of_output(name)
        incomplete = (memory / "incomplete" / name_of_output(name)).exists()
        if path.exists() and remembered.exists() and not incomplete:
            about = path.stat()
            found[job.record] = (about.st_ino, about.st_mtime_ns)
    return found


def changed(project: Project, plan: Plan, before: dict[str, tuple]) -> list[str]:
    """What was finished and is no longer the same file."""
    after = finished(project, plan)
    return [record for record, identity in before.items() if after.get(record) != identity]


def digests(project: Project, plan: Plan) -> dict[str, dict]:
    """record -> digests of its files, but those that hold times."""
    found = {}
    for job in plan.jobs.values():
        record = json.loads((project.folder / plan.results / job.record).read_text(encoding="utf-8"))
        if job.rule not in ("figures", "report"):
            found[job.record] = {k: v for k, v in record["digests"].items() if k not in ("cells", "training", "alarms")}
    return found
