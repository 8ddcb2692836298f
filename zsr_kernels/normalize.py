"""The normalisation in front of a network, forward and backward: uint8 or float in, the network's dtype out.

    net = (x - mean) / std, x = x / 255 first if it is uint8;   backward: dx = dnet / std

Attacks do not call the backward for L-infinity (the sign does not change); L2 and L1 steps divide by std inside.
"""

from torch import Tensor

from zsr_kernels import reference
from zsr_kernels.dispatch import check_images, use_triton
from zsr_kernels.normalisation import Normalisation


def normalize(x: Tensor, normalisation: Normalisation, kernels: str = "auto") -> Tensor:
    """The network's input for images in [0, 1] (or uint8)."""
    check_images("normalize", "x", x, mean=normalisation.mean, std=normalisation.std)
    if x.requires_grad or not use_triton(x.device, kernels):
        return reference.normalize(x, normalisation)
    from zsr_kernels.cuda.normalize import launch

    return launch(x, normalisation)
