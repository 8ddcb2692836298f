"""The L-infinity step: sign, step, ball, box, normalisation and cast in one pass.

    x'  = min(max(x + step * sign(g), x0 - eps), x0 + eps), then clamped to [0, 1]      float32
    net = (x' - mean) / std                                                             the network's dtype

`g` is the gradient with respect to the *normalised* input, in float16, bfloat16 or float32: sign(g / std) = sign(g), so
the backward of the normalisation is never run. `x0` is float32 or uint8 (x0 / 255). `step`, `eps`: floats or `[B]`.
Read once each: x, x0, g; written once each: x', net. On a CPU this is `reference.linf_step`, called directly.
"""

import torch
from torch import Tensor

from zsr_kernels import reference
from zsr_kernels.dispatch import check, use_triton


def linf_step(
    x: Tensor,
    x0: Tensor,
    grad: Tensor,
    step: float | Tensor,
    eps: float | Tensor,
    mean: Tensor | None = None,
    std: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    kernels: str = "auto",
) -> tuple[Tensor, Tensor]:
    """One step for the whole batch: the next iterate (float32) and the network's input there."""
    check("linf_step", x, x0=x0, grad=grad, step=step, eps=eps, mean=mean, std=std)
    if not use_triton(x.device, kernels):
        return reference.linf_step(x, x0, grad, step, eps, mean, std, dtype)
    from zsr_kernels.cuda.linf_step import launch

    return launch(x, x0, grad, step, eps, mean, std, dtype)
