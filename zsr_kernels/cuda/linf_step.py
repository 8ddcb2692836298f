"""Triton: `zsr_kernels.linf_step` (the formula is there)."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from zsr_kernels.cuda.common import BLOCK, channels, clip_ball, grid, load_pixels, normalized, on, per_row, sign, sizes
from zsr_kernels.normalisation import Normalisation


@triton.jit
def kernel(
    x, x0, g, step, eps, mean, std, out, net, n, per_channel,
    STEP_STRIDE: tl.constexpr, EPS_STRIDE: tl.constexpr,
    UINT8: tl.constexpr, NORMALIZE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    offsets = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    at = row * n + offsets
    direction = sign(tl.load(g + at, mask=mask, other=0.0).to(tl.float32))
    size = tl.load(step + row * STEP_STRIDE)
    radius = tl.load(eps + row * EPS_STRIDE)
    y = tl.load(x + at, mask=mask, other=0.0) + size * direction  # exact product: contraction cannot change it
    y = clip_ball(y, load_pixels(x0, at, mask, UINT8), radius)
    tl.store(out + at, y, mask=mask)
    z = normalized(y, mean, std, offsets // per_channel, mask, NORMALIZE)
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
    step, step_stride = per_row(step, x)
    eps, eps_stride = per_row(eps, x)
    mean, std, fused = channels(normalisation, x)
    with on(x):
        kernel[grid(images, n, block)](
            x, x0, grad, step, eps, mean, std, out, net, n, per_channel,
            step_stride, eps_stride, x0.dtype == torch.uint8, fused, block,
        )  # fmt: skip
    return out, net
