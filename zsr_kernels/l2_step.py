"""The L2 step: per-image norm, guarded at zero, ball, box, normalisation and cast.

    g   = gradient / std                                 with respect to pixels (here the deviation does matter)
    y   = x + step * g / (||g|| + 1e-12)
    x'  = x0 + (y - x0) * min(1, eps / ||y - x0||), then clamped to [0, 1]; net = (x' - mean) / std

Two norms over each image make this three passes over memory. On a CPU this is `reference.l2_step`.
"""

from torch import Tensor

from zsr_kernels import reference
from zsr_kernels.dispatch import check, use_triton
from zsr_kernels.normalisation import PIXELS, Normalisation


def l2_step(
    x: Tensor,
    x0: Tensor,
    grad: Tensor,
    step: float | Tensor,
    eps: float | Tensor,
    normalisation: Normalisation = PIXELS,
    kernels: str = "auto",
) -> tuple[Tensor, Tensor]:
    """One step for the whole batch: the next iterate (float32) and the network's input there."""
    check("l2_step", x, x0=x0, grad=grad, step=step, eps=eps, mean=normalisation.mean, std=normalisation.std)
    if not use_triton(x.device, kernels):
        return reference.l2_step(x, x0, grad, step, eps, normalisation)
    from zsr_kernels.cuda.l2_step import launch

    return launch(x, x0, grad, step, eps, normalisation)
