"""The processes that share one training: one, unless `zsr.training.distributed` starts more.

A method whose loss looks across the batch asks its peers: `gather` puts the parts of the batch together, with
gradient. One process alone gets back what it gave, the same tensor.
"""

import numpy as np
from torch import Tensor, nn


class Peers:
    """One process: it has the whole batch, and nobody to average with."""

    rank = 0
    size = 1

    def share(self, chosen: np.ndarray) -> np.ndarray:
        """This process's part of a global batch."""
        return chosen

    def gather(self, part: Tensor) -> Tensor:
        """The parts [b, …] of all processes, in the order of the global batch [B, …]; differentiable."""
        return part

    def mean(self, value: Tensor) -> float:
        """The mean of a scalar over the processes; a synchronisation."""
        return value.item()

    def average(self, parameters: list[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes."""

    def synchronise(self, visual: nn.Module) -> None:
        """Let what normalises by the batch see all of it."""


ALONE = Peers()
