"""Pieces that the kernels share: pixel loading, the box, the network's input, and how a kernel is launched."""

from contextlib import nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor

from zsr_kernels.normalisation import Normalisation

BLOCK = 1024  # elements per program: memory-bound kernels gain nothing from tuning it per shape


@triton.jit
def load_pixels(pointer, offsets, mask, UINT8: tl.constexpr):
    """x0 as float32; uint8 means x0 / 255, divided exactly as on the CPU."""
    value = tl.load(pointer + offsets, mask=mask, other=0).to(tl.float32)
    if UINT8:
        value = tl.div_rn(value, tl.full(value.shape, 255.0, tl.float32))
    return value


@triton.jit
def clip_box(y):
    """[0, 1]; NaN stays NaN."""
    y = tl.maximum(y, 0.0, propagate_nan=tl.PropagateNan.ALL)
    return tl.minimum(y, 1.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def clip_ball(y, x0, eps):
    """x0 +- eps, then [0, 1]; NaN stays NaN."""
    y = tl.maximum(y, x0 - eps, propagate_nan=tl.PropagateNan.ALL)
    y = tl.minimum(y, x0 + eps, propagate_nan=tl.PropagateNan.ALL)
    return clip_box(y)


@triton.jit
def sign(g):
    """torch.sign: 0 for +-0, and 0 for NaN."""
    return (g > 0).to(tl.float32) - (g < 0).to(tl.float32)


@triton.jit
def normalized(y, mean, std, channel, mask, NORMALIZE: tl.constexpr):
    """(y - mean) / std of each element's channel, rounded as on the CPU."""
    if NORMALIZE:
        m = tl.load(mean + channel, mask=mask, other=0.0)
        s = tl.load(std + channel, mask=mask, other=1.0)
        y = tl.div_rn(y - m, s)
    return y


def on(x: Tensor):
    """Launch on the tensor's own device: Triton otherwise takes the current one."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def per_row(value: float | Tensor, x: Tensor) -> tuple[Tensor, int]:
    """A float or [B] as a tensor and the stride to the next image's value (0: one for all)."""
    if not isinstance(value, Tensor):
        value = torch.full((1,), float(value), dtype=torch.float32, device=x.device)
    return value.contiguous().view(-1), int(value.numel() > 1)


def channels(normalisation: Normalisation, x: Tensor) -> tuple[Tensor, Tensor, bool]:
    """Mean and std as kernels read them (a view may have gaps), or x, which is not read; and whether they are read."""
    mean, std = normalisation.mean, normalisation.std
    return (x, x, False) if mean is None else (mean.contiguous(), std.contiguous(), True)


def sizes(x: Tensor) -> tuple[int, int, int]:
    """Images, elements per image, elements per channel."""
    n = x.numel() // x.shape[0]
    return x.shape[0], n, n // x.shape[1]


def grid(images: int, n: int, block: int) -> tuple[int, int]:
    return images, triton.cdiv(n, block)
