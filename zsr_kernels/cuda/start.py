"""Triton: `zsr_kernels.start` in L-infinity: the same bits as the reference's generator."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from zsr_kernels import draws
from zsr_kernels.cuda.common import BLOCK, channels, clip_ball, grid, load_pixels, normalized, on, per_row, sizes
from zsr_kernels.normalisation import Normalisation


@triton.jit
def mix(h):
    """`draws.mix32` on uint32."""
    h = h ^ (h >> 16)
    h = h * 0x7FEB352D
    h = h ^ (h >> 15)
    h = h * 0x846CA68B
    return h ^ (h >> 16)


@triton.jit
def kernel(
    x0, first, second, eps, mean, std, out, net, n, per_channel,
    EPS_STRIDE: tl.constexpr, UINT8: tl.constexpr, NORMALIZE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    offsets = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    at = row * n + offsets
    a = tl.load(first + row).to(tl.uint32, bitcast=True)
    b = tl.load(second + row).to(tl.uint32, bitcast=True)
    h = mix(mix(offsets.to(tl.uint32) + a) ^ b)
    u = (h >> 8).to(tl.float32) * (1.0 / 16777216.0)
    origin = load_pixels(x0, at, mask, UINT8)
    radius = tl.load(eps + row * EPS_STRIDE)
    y = clip_ball(origin + radius * (2.0 * u - 1.0), origin, radius)
    tl.store(out + at, y, mask=mask)
    z = normalized(y, mean, std, offsets // per_channel, mask, NORMALIZE)
    tl.store(net + at, z.to(net.dtype.element_ty), mask=mask)


def launch(
    x0: Tensor,
    keys: Tensor,
    seed: int,
    stream: int,
    eps: float | Tensor,
    normalisation: Normalisation,
    block: int = BLOCK,
) -> tuple[Tensor, Tensor]:
    x0 = x0.contiguous()
    out, net = torch.empty_like(x0, dtype=torch.float32), torch.empty_like(x0, dtype=normalisation.dtype)
    if x0.numel() == 0:
        return out, net
    images, n, per_channel = sizes(x0)
    first, second = draws.stream_keys(keys, seed, stream)
    eps, eps_stride = per_row(eps, x0)
    mean, std, fused = channels(normalisation, out)
    with on(x0):
        kernel[grid(images, n, block)](
            x0, first, second, eps, mean, std, out, net, n, per_channel,
            eps_stride, x0.dtype == torch.uint8, fused, block,
        )  # fmt: skip
    return out, net
