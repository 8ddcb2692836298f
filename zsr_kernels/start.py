"""Random starts from a counter-based generator: a draw depends on (seed, image key, stream, position) and nothing else.

A stateful generator gives an image another start when its batch changes. Here position i of image k in stream s is

    h = mix(mix(i + a) ^ b),   (a, b) = two words hashed from (seed, k, s),   u = (h >> 8) * 2^-24

with `mix` a bijective 32-bit hash: a few integer operations, the same bits on a CPU and on a GPU. Then, per norm,
linf: x0 + eps (2u - 1); l2: on the sphere; l1: a normal draw projected; each clipped to the box and normalised.
"""

import torch
from torch import Tensor

from zsr_kernels import reference
from zsr_kernels.dispatch import KernelError, check_images, use_triton
from zsr_kernels.normalisation import PIXELS, Normalisation


def start(
    x0: Tensor,
    keys: Tensor,
    seed: int,
    stream: int,
    eps: float | Tensor,
    norm: str = "linf",
    normalisation: Normalisation = PIXELS,
    kernels: str = "auto",
) -> tuple[Tensor, Tensor]:
    """A random point of ball and box for each image (`keys`: int64 [B]), and the network's input there."""
    check_images("start", "x0", x0, eps=eps, mean=normalisation.mean, std=normalisation.std)
    if keys.dtype != torch.int64 or keys.shape != x0.shape[:1] or keys.device != x0.device:
        raise KernelError(f"start: keys must be int64 [{len(x0)}] on {x0.device}, is {keys.dtype} {tuple(keys.shape)}")
    if norm != "linf" or not use_triton(x0.device, kernels):
        return reference.start(x0, keys, seed, stream, eps, norm, normalisation)
    from zsr_kernels.cuda.start import launch

    return launch(x0, keys, seed, stream, eps, normalisation)
