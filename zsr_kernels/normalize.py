"""The normalisation in front of a network, forward and backward: uint8 or float in, the network's dtype out.

    net = (x - mean) / std, x = x / 255 first if it is uint8;   backward: dx = dnet / std

Attacks do not call the backward for L-infinity (the sign does not change); L2 and L1 steps divide by std inside.
"""

import torch
from torch import Tensor

from zsr_kernels import reference
from zsr_kernels.dispatch import KernelError, use_triton


def normalize(
    x: Tensor, mean: Tensor | None, std: Tensor | None, dtype: torch.dtype = torch.float32, kernels: str = "auto"
) -> Tensor:
    """The network's input for images in [0, 1] (or uint8)."""
    if x.dtype not in (torch.float32, torch.uint8):
        raise KernelError(f"normalize: x must be float32 or uint8, is {x.dtype}")
    if mean is not None and (mean.shape != x.shape[1:2] or mean.device != x.device):
        raise KernelError(f"normalize: mean {tuple(mean.shape)} on {mean.device} does not fit x {tuple(x.shape)}")
    if x.requires_grad or not use_triton(x.device, kernels):
        return reference.normalize(x, mean, std, dtype)
    from zsr_kernels.cuda.normalize import launch

    return launch(x, mean, std, dtype)
