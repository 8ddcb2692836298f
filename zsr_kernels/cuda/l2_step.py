"""Triton: `zsr_kernels.l2_step` in three passes: norm of the gradient, norm of the perturbation, the step.

Partial sums are written block by block and added up by torch: atomics would add in another order each time.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from zsr_kernels.cuda.common import BLOCK, channels, clip_box, grid, load_pixels, normalized, on, per_row, sizes
from zsr_kernels.normalisation import Normalisation


@triton.jit
def pixel_gradient(g, at, std, channel, mask, NORMALIZE: tl.constexpr):
    value = tl.load(g + at, mask=mask, other=0.0).to(tl.float32)
    if NORMALIZE:
        value = tl.div_rn(value, tl.load(std + channel, mask=mask, other=1.0))
    return value


@triton.jit
def gradient_norm(g, std, partial, n, per_channel, NORMALIZE: tl.constexpr, BLOCK: tl.constexpr):
    row, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    offsets = block * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    value = pixel_gradient(g, row * n + offsets, std, offsets // per_channel, mask, NORMALIZE)
    tl.store(partial + row * tl.num_programs(1) + block, tl.sum(value * value, 0))


@triton.jit
def moved(x, g, step, norm, std, row, at, channel, mask, STEP_STRIDE: tl.constexpr, NORMALIZE: tl.constexpr):
    direction = pixel_gradient(g, at, std, channel, mask, NORMALIZE) / (tl.load(norm + row) + 1e-12)
    return tl.load(x + at, mask=mask, other=0.0) + tl.load(step + row * STEP_STRIDE) * direction


@triton.jit
def perturbation_norm(
    x, x0, g, step, norm, std, partial, n, per_channel,
    STEP_STRIDE: tl.constexpr, UINT8: tl.constexpr, NORMALIZE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    offsets = block * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    at = row * n + offsets
    y = moved(x, g, step, norm, std, row, at, offsets // per_channel, mask, STEP_STRIDE, NORMALIZE)
    delta = tl.where(mask, y - load_pixels(x0, at, mask, UINT8), 0.0)
    tl.store(partial + row * tl.num_programs(1) + block, tl.sum(delta * delta, 0))


@triton.jit
def apply(
    x, x0, g, step, norm, shrink, mean, std, out, net, n, per_channel,
    STEP_STRIDE: tl.constexpr, UINT8: tl.constexpr, NORMALIZE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    offsets = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    at, channel = row * n + offsets, offsets // per_channel
    origin = load_pixels(x0, at, mask, UINT8)
    y = moved(x, g, step, norm, std, row, at, channel, mask, STEP_STRIDE, NORMALIZE)
    y = clip_box(origin + (y - origin) * tl.load(shrink + row))
    tl.store(out + at, y, mask=mask)
    z = normalized(y, mean, std, channel, mask, NORMALIZE)
    tl.store(net + at, z.to(net.dtype.element_ty), mask=mask)


def launch(
    x: Tensor,
    x0: Tensor,
    grad: Tensor,
    step: float | Tensor,
    eps: float | Tensor,
    normalisation: Normalisation,
    block: int = BLOCK,
) -> tuple[Tensor, Tensor]:
    x, x0, grad = x.contiguous(), x0.contiguous(), grad.contiguous()
    out, net = torch.empty_like(x), torch.empty_like(x, dtype=normalisation.dtype)
    if x.numel() == 0:
        return out, net
    images, n, per_channel = sizes(x)
    programs = grid(images, n, block)
    step, step_stride = per_row(step, x)
    eps, _ = per_row(eps, x)
    mean, std, fused = channels(normalisation, x)
    uint8 = x0.dtype == torch.uint8
    partial = torch.empty(programs, dtype=torch.float32, device=x.device)
    with on(x):
        gradient_norm[programs](grad, std, partial, n, per_channel, fused, block)
        norm = partial.sum(1).sqrt()
        perturbation_norm[programs](
            x, x0, grad, step, norm, std, partial, n, per_channel, step_stride, uint8, fused, block
        )
        size = partial.sum(1).sqrt()
        shrink = torch.where(size > eps, eps / size.clamp_min(1e-30), torch.ones_like(size))
        apply[programs](
            x, x0, grad, step, norm, shrink, mean, std, out, net, n, per_channel, step_stride, uint8, fused, block
        )
    return out, net
