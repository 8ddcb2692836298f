"""The normalisation in front of a network, forward and backward: uint8 or float in, the network's dtype out.

    net = (x - mean) / std, x = x / 255 first if it is uint8;   backward: dx = dnet / std

Attacks do not call the backward for L-infinity (the sign does not change); L2 and L1 steps divide by std inside.
"""

import torch
from torch import Tensor

from zsr_kernels import reference
from zsr_kernels.dispatch import check_images, use_triton


def normalize(
    x: Tensor, mean: Tensor | None, std: Tensor | None, dtype: torch.dtype = torch.float32, kernels: str = "auto"
) -> Tensor:
    """The network's input for images in [0, 1] (or uint8)."""
    check_images("normalize", "x", x, mean=mean, std=std)
    if x.requires_grad or not use_triton(x.device, kernels):
        return reference.normalize(x, mean, std, dtype)
    from zsr_kernels.cuda.normalize import launch

    return launch(x, mean, std, dtype)
