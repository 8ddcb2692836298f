"""The shape that all trainings share: steps one by one, a state at each, and the loop that resumes, logs and saves."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar

import numpy as np

from zsr.errors import ZsrError
from zsr.models.precision import flags
from zsr.progress import Progress
from zsr.training.checkpoint import Checkpoint

Row = dict[str, float]  # of the log: the step, its loss and whatever else is worth a curve


class Training(ABC):
    """A training whose iteration makes its steps and gives their rows of the log.

    The `state_dict` after any step, loaded into a fresh training of the same arguments, goes on bit for bit.
    """

    name: ClassVar[str]  # for errors and the progress bar
    cure: ClassVar[str]  # of a loss or a gradient that is not finite
    steps: int
    step: int = 0  # steps that are done
    last_loss: float = math.nan  # of the last of them

    def __iter__(self) -> Iterator[Row]:
        while self.step < self.steps:
            yield self.advance()

    @flags()  # a GPU would round the convolutions of float32 to TF32 unless told
    def advance(self) -> Row:
        """Make one step; returns its row of the log."""
        row = self.update()
        self.step += 1
        return row

    @abstractmethod
    def update(self) -> Row:
        """Change the weights as step `self.step` does."""

    @abstractmethod
    def chosen(self, step: int) -> np.ndarray:
        """The images of a step, by their index in the set."""

    @abstractmethod
    def state_dict(self) -> dict:
        """All that the rest of the training depends on."""

    @abstractmethod
    def load_state_dict(self, state: dict) -> None:
        """Go on from a saved state."""

    def check_finite(self, value: float, what: str) -> None:
        """Stop before the weights are spoiled, and say with which images."""
        if not math.isfinite(value):
            raise ZsrError(
                f"{self.name}: the {what} is {value} at step {self.step}, images {self.chosen(self.step).tolist()}; "
                f"{self.cure}"
            )


def run_training(training: Training, checkpoint: Checkpoint, log: Callable[[Row], None]) -> None:
    """Make all steps that are left, from the checkpoint if there is one; each is logged and can be stopped after."""
    if (state := checkpoint.load()) is not None:
        training.load_state_dict(state)
    progress = Progress(training.name, training.steps, training.step)
    for row in training:
        log(row)
        progress.step(note=f"loss {row['loss']:.4f}")
        checkpoint.step(training.state_dict)
