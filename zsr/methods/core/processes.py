"""The processes that share one training: one, unless `zsr.training.distributed` starts more.

A method whose loss looks across the batch calls `gather`: it puts the parts of the batch together, with gradient. For
one process alone it returns its argument, the same tensor.
"""

import numpy as np
from torch import Tensor, nn


class Processes:
    """One process: it has the whole batch, and there is nothing to average."""

    rank = 0
    size = 1

    def part_of_batch(self, chosen: np.ndarray) -> np.ndarray:
        """This process's part of a global batch."""
        return chosen

    def gather(self, part: Tensor) -> Tensor:
        """The parts [b, …] of all processes, in the order of the global batch [B, …]; differentiable."""
        return part

    def mean(self, value: Tensor) -> float:
        """The mean of a scalar over the processes; a device sync."""
        return value.item()

    def average_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes."""

    def share_batchnorm(self, visual: nn.Module) -> None:
        """Make BatchNorm normalise by the whole batch, not by this process's part."""


ONE_PROCESS = Processes()
