"""The L-infinity step: sign, step, ball, box, normalisation and cast in one pass.

    x'  = min(max(x + step * sign(g), x0 - eps), x0 + eps), then clamped to [0, 1]      float32
    net = (x' - mean) / std                                                             the network's dtype

`g` is the gradient with respect to the *normalised* input, in float16, bfloat16 or float32: sign(g / std) = sign(g), so
the backward of the normalisation is never run. `x0` is float32 or uint8 (x0 / 255). `step`, `eps`: floats or `[B]`.
Read once each: x, x0, g; written once each: x', net. On a CPU this is `reference.linf_step`, called directly.
"""

from torch import Tensor

from zsr_kernels import reference
from zsr_kernels.dispatch import check, use_triton
from zsr_kernels.normalisation import PIXELS, Normalisation


def linf_step(
    x: Tensor,
    x0: Tensor,
    grad: Tensor,
    step: float | Tensor,
    eps: float | Tensor,
    normalisation: Normalisation = PIXELS,
    kernels: str = "auto",
) -> tuple[Tensor, Tensor]:
    """One step for the whole batch: the next iterate (float32) and the network's input there."""
    check("linf_step", x, x0=x0, grad=grad, step=step, eps=eps, mean=normalisation.mean, std=normalisation.std)
    if not use_triton(x.device, kernels):
        return reference.linf_step(x, x0, grad, step, eps, normalisation)
    from zsr_kernels.cuda.linf_step import launch

    return launch(x, x0, grad, step, eps, normalisation)
