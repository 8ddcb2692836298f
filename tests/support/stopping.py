"""A job that is asked to stop after some steps."""

import resource
import signal
import time
from pathlib import Path

import psutil

from support.jobs import start
from zsr.plan.graph import PlannedJob
from zsr.plan.plan import Plan


def logged(folder: Path) -> int:
    return max([part.read_text(encoding="utf-8").count("\n") for part in folder.glob("..train.jsonl.part.*")] or [0])


def stop_after(project, plan: Plan, job: PlannedJob, steps: int) -> tuple[float, int, str]:
    """SIGTERM when so many steps are logged: seconds until it has ended, exit code, words.

    Seconds by the clock or of the processor, whichever is less: other work on the machine is not the job's fault.
    """
    before = processor_seconds()
    folder = project.folder / plan.results / Path(job.record).parent
    process = start(project, plan, job)
    end = time.monotonic() + 300
    while logged(folder) < steps:
        assert process.poll() is None and time.monotonic() < end, process.communicate()[0]
        time.sleep(0.01)
    asked, used = time.monotonic(), sum(psutil.Process(process.pid).cpu_times()[:2])
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    return min(time.monotonic() - asked, processor_seconds() - before - used), process.returncode, said


def processor_seconds() -> float:
    """Of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
