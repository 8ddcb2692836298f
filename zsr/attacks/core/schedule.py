"""The three words of the loop: a `Schedule` moves images, a `Round` is one run of it, `Seen` is what a pass brought."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from zsr.attacks.core.objectives import Objective
from zsr.attacks.core.threat import Threat

State = dict[str, Tensor]


class Schedule:
    """How one image moves. A subclass holds settings only; what changes lies in the state, one row per image."""

    steps: int  # gradient steps per image: the number of `advance` calls it lives through
    needs_gradient: bool = True
    scale_free: bool = True  # only the direction of an image's gradient matters, not its length

    def begin(self, threat: Threat, state: State, seed: int, stream: int) -> State:
        """The first iterate: given x0, y, key (and the objective's aux), return at least `x` and `net`."""
        raise NotImplementedError

    def advance(self, threat: Threat, state: State, seen: "Seen") -> None:
        """Put the next iterates into `x` and `net`, given what the network said at the current ones."""
        raise NotImplementedError

    def suspects(self, threat: Threat, state: State, wrong: Tensor) -> Tensor:
        """Which misclassified iterates are worth a verdict, [B]: all, unless iterates may lie outside the ball."""
        return wrong

    def last(self, threat: Threat, state: State, rows: Tensor) -> Tensor:
        """The examples that are scored when the images in these rows have used up their steps."""
        return state["x"].index_select(0, rows)


class Seen(NamedTuple):
    """What one pass brought to light, row by row, and how many steps each row has made (host side; stale if idle)."""

    loss: Tensor  # [B], or [B, K] for a vector objective
    grad: Tensor | None  # with respect to the network's input: [B, C, H, W], or [B, K, C, H, W]
    logits: Tensor  # [B, C]
    age: list[int]
    fixed: bool = False  # the batch never shrinks, and no bit of an image may depend on its company


def sent(values: list, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """A list of the host on the device: `torch.tensor(…, device=…)` would wait for all that is queued there."""
    return torch.tensor(values, dtype=dtype).to(device, non_blocking=True)


@dataclass(frozen=True)
class Round:
    """One run over images: what moves them, what they climb, under which name, from which stream of random numbers."""

    attack: str
    schedule: Schedule
    objective: Objective
    stream: int = 0
    eot: int = 1  # draws of a random defence that a pass averages
