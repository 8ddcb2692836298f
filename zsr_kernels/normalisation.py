"""How pixels become the network's input: mean, deviation and dtype, which go together through every op."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Normalisation:
    """(x - mean) / std per channel, in `dtype`. mean and std are `[C]` tensors; both are None if the network takes
    pixels."""

    mean: Tensor | None = None
    std: Tensor | None = None
    dtype: torch.dtype = torch.float32


PIXELS = Normalisation()
