"""Triton: `zsr_kernels.apgd_track`: copies the images that improved, and no others, without asking the host which."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from zsr_kernels.cuda.common import BLOCK, grid, on, sizes


@triton.jit
def kernel(x, g, better, x_best, g_best, n, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    offsets = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = (offsets < n) & (tl.load(better + row) != 0)
    at = row * n + offsets
    tl.store(x_best + at, tl.load(x + at, mask=mask, other=0.0), mask=mask)
    tl.store(g_best + at, tl.load(g + at, mask=mask, other=0.0), mask=mask)


def launch(
    x: Tensor,
    grad: Tensor,
    loss: Tensor,
    x_best: Tensor,
    grad_best: Tensor,
    loss_best: Tensor,
    loss_last: Tensor,
    rises: Tensor,
    block: int = BLOCK,
) -> None:
    if not (x_best.is_contiguous() and grad_best.is_contiguous()):
        raise ValueError("apgd_track: x_best and grad_best are written in place and must be contiguous")
    better = loss > loss_best
    if x.numel():
        images, n, _ = sizes(x)
        flags = better.to(torch.uint8)
        with on(x):
            kernel[grid(images, n, block)](x.contiguous(), grad.contiguous(), flags, x_best, grad_best, n, block)
    loss_best.copy_(torch.where(better, loss, loss_best))
    rises += loss > loss_last
    loss_last.copy_(loss)
