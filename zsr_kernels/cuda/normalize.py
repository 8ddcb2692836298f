"""Triton: `zsr_kernels.normalize`."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from zsr_kernels.cuda.common import BLOCK, channels, grid, load_pixels, normalized, on, sizes
from zsr_kernels.normalisation import Normalisation


@triton.jit
def kernel(x, mean, std, net, n, per_channel, UINT8: tl.constexpr, NORMALIZE: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    offsets = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    at = row * n + offsets
    z = normalized(load_pixels(x, at, mask, UINT8), mean, std, offsets // per_channel, mask, NORMALIZE)
    tl.store(net + at, z.to(net.dtype.element_ty), mask=mask)


def launch(x: Tensor, normalisation: Normalisation, block: int = BLOCK) -> Tensor:
    x = x.contiguous()
    net = torch.empty_like(x, dtype=normalisation.dtype)
    if x.numel() == 0:
        return net
    images, n, per_channel = sizes(x)
    mean, std, fused = channels(normalisation, net)
    with on(x):
        kernel[grid(images, n, block)](x, mean, std, net, n, per_channel, x.dtype == torch.uint8, fused, block)
    return net
