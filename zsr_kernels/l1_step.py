"""The L1 step: the largest coordinates of the gradient, then the exact projection onto the L1 ball and the box.

    y  = x + step * sign(g) on the `share` of coordinates with the largest |g|, divided by their number
    x' = argmin_z ||z - y||_2 over ||z - x0||_1 <= eps and 0 <= z <= 1; net = (x' - mean) / std

Selection and projection are a sort and a root finding per image: reductions that PyTorch runs well on either device.
There is no Triton kernel for this op: `reference.l1_step` is what runs everywhere (docs/gpu-log.md says what to measure
before writing one).
"""

from torch import Tensor

from zsr_kernels import reference
from zsr_kernels.dispatch import check
from zsr_kernels.normalisation import PIXELS, Normalisation


def l1_step(
    x: Tensor,
    x0: Tensor,
    grad: Tensor,
    step: float | Tensor,
    eps: float | Tensor,
    normalisation: Normalisation = PIXELS,
    share: float | Tensor = 0.05,
) -> tuple[Tensor, Tensor]:
    """One step for the whole batch: the next iterate (float32) and the network's input there."""
    check(
        "l1_step", x, x0=x0, grad=grad, step=step, eps=eps, mean=normalisation.mean, std=normalisation.std, share=share
    )  # fmt: skip
    return reference.l1_step(x, x0, grad, step, eps, normalisation, share)
