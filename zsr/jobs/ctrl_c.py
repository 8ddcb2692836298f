"""Ctrl-C where Snakemake runs: its jobs are asked to stop, and the terminal says what goes on where in a few lines.

Snakemake itself waits for its jobs without asking them, and reports each job that ended by the terminal's signal with
its whole command, spec included, twice. So the rules start jobs that ignore the signal, and SIGTERM asks them here.
Ctrl-C again kills them. Snakemake's own log file keeps every report.
"""

import logging
import os
import signal
import sys
from contextlib import suppress
from itertools import chain
from queue import Empty, SimpleQueue
from threading import Thread, current_thread, main_thread
from types import FrameType
from typing import Any

import psutil
from snakemake.logging import logger

PROGRAM = "workflow.scripts."  # in the command of every job
NAMED = 3  # running jobs that the line names
AGAIN = 0.3  # seconds between two looks for jobs: one may have been about to start
REPORTS = ("job_error", "group_error")  # events of Snakemake's log
WORDS = ("CalledProcessError", "Terminating processes on user request", "At least one job did not", "Elapsed time:")


def stop_on_ctrl_c(scheduler: Any) -> None:
    """Take over SIGINT, unless Snakemake was started to ignore it."""
    if current_thread() is not main_thread() or signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        return
    pressed = CtrlC(scheduler)
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.addFilter(pressed.shows)
    Thread(target=pressed.end_jobs, daemon=True).start()
    signal.signal(signal.SIGINT, pressed)


class CtrlC:
    """The signal's handler. It takes no lock: it may come in the middle of anything, itself included."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.count = 0
        self._presses: SimpleQueue = SimpleQueue()  # its `put` may be interrupted by another

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self._presses.put(self.count)
        if self.count == 1:
            say(
                f"stopping {titles(self.scheduler.running)}; trainings save first, and the same command goes on from "
                "there (Ctrl-C again: stop without saving)"
            )
            raise KeyboardInterrupt

    def end_jobs(self) -> None:
        """In a thread: from the first Ctrl-C on ask every job once, from the second on kill."""
        last, asked = self._presses.get(), set()
        while True:
            for job in jobs():
                with suppress(psutil.Error):  # it has just ended
                    if last > 1:
                        job.kill()
                    elif job not in asked:
                        asked.add(job)
                        job.terminate()
            with suppress(Empty):
                last = self._presses.get(timeout=AGAIN)

    def shows(self, record: logging.LogRecord) -> bool:
        """What the terminal still shows: after Ctrl-C no report of a job that was stopped."""
        stopped = getattr(record, "event", None) in REPORTS or any(words in str(record.msg) for words in WORDS)
        return not (self.count and stopped)


def jobs() -> list[psutil.Process]:
    """The jobs that run as children of this process."""
    running = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            running += [child] if any(PROGRAM in part for part in child.cmdline()) else []
    return running


def titles(running: Any) -> str:
    """'evaluate rn.clip digits, finetune rn.tecoa.s0 and 4 more'."""
    each = chain.from_iterable(job if job.is_group() else [job] for job in list(running))
    names = sorted(" ".join([job.rule.name, *job.wildcards]) for job in each)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more if names else "before any job runs"


def say(line: str) -> None:
    """One line on the terminal, past Python's buffers, which the signal may have found half-full."""
    os.write(2, f"{os.linesep if sys.stderr.isatty() else ''}zsr: {line}\n".encode())
