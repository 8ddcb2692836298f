"""The engine's three types: a `Schedule` moves images, a `Round` is one run of it, `PassResult` is what a pass gave."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from zsr.attacks.core.objectives import Objective
from zsr.attacks.core.threat import Threat
from zsr.errors import ZsrError

State = dict[str, Tensor]


class Schedule(ABC):
    """How one image moves. A subclass holds settings only; what changes is in the state, one row per image."""

    steps: int  # gradient steps per image: the number of `advance` calls before its last iterate is scored
    needs_gradient: bool = True
    scale_free: bool = True  # only the direction of an image's gradient matters, not its length

    @abstractmethod
    def begin(self, threat: Threat, state: State, seed: int, stream: int) -> State:
        """The first iterate: given x0, y, key (and the objective's aux), return at least `x` and `net`."""

    @abstractmethod
    def advance(self, threat: Threat, state: State, result: "PassResult") -> None:
        """Put the next iterates into `x` and `net`, given the network's output at the current ones."""

    def suspects(self, threat: Threat, state: State, wrong: Tensor) -> Tensor:
        """Which misclassified iterates are worth a verdict, [B]: all, unless iterates may lie outside the ball."""
        return wrong

    def last(self, threat: Threat, state: State, rows: Tensor) -> Tensor:
        """The examples that are scored when the images in these rows have made all their steps."""
        return state["x"].index_select(0, rows)


class PassResult(NamedTuple):
    """What one pass gave, row by row, and how many steps each row has made (on the host; stale if the row is idle)."""

    loss: Tensor  # [B], or [B, K] for a vector objective
    grad: Tensor | None  # with respect to the network's input: [B, C, H, W], or [B, K, C, H, W]
    logits: Tensor  # [B, C]
    age: list[int]
    fixed: bool = False  # the batch never shrinks, and no bit of an image may depend on the rest of the batch

    @property
    def gradient(self) -> Tensor:
        """`grad`, for schedules that need one."""
        if self.grad is None:
            raise AssertionError("a schedule that reads the gradient must set needs_gradient; this is a bug")
        return self.grad

    def finite_rows(self) -> Tensor:
        """Which rows have a finite loss and gradient, [B].

        A NaN gradient has sign 0: if nobody checked, the image would count as robust because it was never attacked.
        """
        finite = torch.isfinite(self.loss.flatten(1).sum(1)) if self.loss.ndim > 1 else torch.isfinite(self.loss)
        if self.grad is not None:
            finite = finite & torch.isfinite(self.grad.flatten(1).sum(1, dtype=torch.float32))
        return finite


def sent(values: Sequence[float], device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """A list of the host on the device: `torch.tensor(…, device=…)` would wait for all that is queued there."""
    return torch.tensor(values, dtype=dtype).to(device, non_blocking=True)


@dataclass(frozen=True)
class Round:
    """One run over images: its schedule, its objective, the name it writes down, and its stream of random numbers."""

    attack: str
    schedule: Schedule
    objective: Objective
    stream: int = 0
    eot: int = 1  # draws of a random defence that a pass averages

    def __post_init__(self) -> None:
        if self.schedule.steps < 1:
            raise ZsrError(f"attack '{self.attack}': it needs at least one step, has {self.schedule.steps}")
