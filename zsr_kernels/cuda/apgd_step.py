"""Triton: `zsr_kernels.apgd_step` in L-infinity (the formula is there)."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from zsr_kernels.cuda.common import BLOCK, channels, clip_ball, grid, load_pixels, normalized, on, per_row, sign, sizes
from zsr_kernels.normalisation import Normalisation


@triton.jit
def kernel(
    x, x_prev, x_best, x0, g, g_best, restore, step, weight, eps, mean, std, out, start, net, n, per_channel,
    EPS_STRIDE: tl.constexpr, RESTORE: tl.constexpr,
    UINT8: tl.constexpr, NORMALIZE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    offsets = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    at = row * n + offsets
    back = False
    if RESTORE:
        back = tl.load(restore + row) != 0
    # of the two sources only one is read: the mask of the other is empty
    here = tl.load(x + at, mask=mask & (not back), other=0.0)
    gradient = tl.load(g + at, mask=mask & (not back), other=0.0).to(tl.float32)
    if RESTORE:
        here = tl.where(back, tl.load(x_best + at, mask=mask & back, other=0.0), here)
        gradient = tl.where(back, tl.load(g_best + at, mask=mask & back, other=0.0).to(tl.float32), gradient)
    origin = load_pixels(x0, at, mask, UINT8)
    radius = tl.load(eps + row * EPS_STRIDE)
    a = tl.load(weight + row)
    z = clip_ball(here + tl.load(step + row) * sign(gradient), origin, radius)
    inertia = here - tl.load(x_prev + at, mask=mask, other=0.0)
    y = clip_ball(here + (z - here) * a + inertia * (1.0 - a), origin, radius)
    tl.store(out + at, y, mask=mask)
    if RESTORE:
        tl.store(start + at, here, mask=mask)
    w = normalized(y, mean, std, offsets // per_channel, mask, NORMALIZE)
    tl.store(net + at, w.to(net.dtype.element_ty), mask=mask)


def launch(
    x: Tensor,
    x_prev: Tensor,
    x_best: Tensor,
    x0: Tensor,
    grad: Tensor,
    grad_best: Tensor,
    restore: Tensor | None,
    step: Tensor,
    weight: Tensor,
    eps: float | Tensor,
    normalisation: Normalisation,
    block: int = BLOCK,
) -> tuple[Tensor, Tensor, Tensor]:
    x, x_prev, x_best, x0, grad, grad_best = (t.contiguous() for t in (x, x_prev, x_best, x0, grad, grad_best))
    out, net = torch.empty_like(x), torch.empty_like(x, dtype=normalisation.dtype)
    start = x if restore is None else torch.empty_like(x)  # nobody goes back: the start is x, not a copy of it
    if x.numel() == 0:
        return out, start, net
    images, n, per_channel = sizes(x)
    eps, eps_stride = per_row(eps, x)
    step, weight = (t.expand(images).contiguous() for t in (step, weight))
    mean, std, fused = channels(normalisation, x)
    flags = restore.to(torch.uint8) if restore is not None else x
    with on(x):
        kernel[grid(images, n, block)](
            x, x_prev, x_best, x0, grad, grad_best, flags, step, weight, eps, mean, std,
            out, start, net, n, per_channel, eps_stride, restore is not None, x0.dtype == torch.uint8, fused, block,
        )  # fmt: skip
    return out, start, net
