"""`last.ckpt`: where an interrupted training goes on, bit for bit; it exists only while the training is unfinished.

The file is no declared output, so Snakemake leaves it when a job fails. It carries a hash of the spec
and of what the job read: a checkpoint of anything else is never resumed. A request to stop (Ctrl-C, preemption, the
death of the parent) waits for the end of the step.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import torch

from zsr.errors import ZsrError
from zsr.jobs.stopping import interrupt, on_stop
from zsr.storage.records import replacing

EVERY_SECONDS = 60.0  # a save of ViT-B/32 with AdamW is 1 GB and takes about 2 s


class Checkpoint:
    """Saves at most once a minute, and when the process is asked to stop."""

    def __init__(self, path: Path, spec_hash: str, every: float = EVERY_SECONDS) -> None:
        self.path, self.spec_hash, self.every = path, spec_hash, every
        self.saved = time.monotonic()
        self.asked_to_stop = False

    def load(self) -> dict | None:
        """The state to resume from, or None: nothing there, or a training of another spec.

        From here on a stop waits for the end of a step; before, there is nothing to save.
        """
        on_stop(self._stop)
        if not self.path.is_file():
            return None
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds; all mean that the file cannot be read
            raise ZsrError(
                f"{self.path}: damaged checkpoint ({type(error).__name__}); delete it to start anew"
            ) from error
        if not isinstance(content, dict) or not isinstance(content.get("state"), dict):
            raise ZsrError(f"{self.path}: not a checkpoint of a training; delete it to start anew")
        if content.get("spec_hash") != self.spec_hash:
            print(f"{self.path}: of another spec, not resumed; starting from the beginning", file=sys.stderr)
            return None
        print(f"{self.path.name}: goes on from step {content['state'].get('step', '?')}", file=sys.stderr)
        return content["state"]

    def step(self, state: Callable[[], dict]) -> None:
        """Call at the end of each step; `state` is called only when it is time to save."""
        due = time.monotonic() - self.saved >= self.every
        if due or self.asked_to_stop:
            self.save(state())
        if self.asked_to_stop:
            raise ZsrError(f"stopped by a signal; {self.path} is saved, the next run goes on from it")

    def save(self, state: dict) -> None:
        """Write under a temporary name and rename, so that a kill leaves the last good one."""
        with replacing(self.path) as temporary:
            torch.save({"spec_hash": self.spec_hash, "state": state}, temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        self.saved = time.monotonic()

    def done(self) -> None:
        """Training is finished: the weights are the result, the checkpoint is not."""
        self.path.unlink(missing_ok=True)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.asked_to_stop and number == signal.SIGINT:
            interrupt(number, frame)  # Ctrl-C again: who presses it twice does not wait for the end of the step
        self.asked_to_stop = True
