"""APGD on the device: the momentum step with per-image step sizes, and the bookkeeping, without waiting for the host.

step      x, g = x_best, g_best where `restore`
          z    = P(x + step * sign(g))
          x'   = P(x + a (z - x) + (1 - a) (x - x_prev)),  P the ball x0 +- eps, then the box;  net = (x' - mean) / std
tracking  better = loss > loss_best: x_best, grad_best, loss_best <- x, grad, loss;  rises += loss > loss_last

`restore` [B] (None: nobody) sends an image back to its best iterate after its step was halved; the kernel reads the
one pointer or the other, so going back costs one write, of the point that the step started from. Read once each: x or
x_best, x_prev, x0, g; written: x', net. Tracking copies only the images that improved.
"""

from torch import Tensor

from zsr_kernels import reference
from zsr_kernels.dispatch import check, use_triton
from zsr_kernels.normalisation import PIXELS, Normalisation


def apgd_step(
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
    norm: str = "linf",
    normalisation: Normalisation = PIXELS,
    kernels: str = "auto",
) -> tuple[Tensor, Tensor, Tensor]:
    """(x', the point the step started from: x itself where nobody goes back, the network's input at x')."""
    check(
        "apgd_step", x, x_prev=x_prev, x_best=x_best, x0=x0, grad=grad, grad_best=grad_best, restore=restore,
        step=step, weight=weight, eps=eps, mean=normalisation.mean, std=normalisation.std,
    )  # fmt: skip
    given = x, x_prev, x_best, x0, grad, grad_best, restore, step, weight, eps, normalisation
    if norm == "l2" or not use_triton(x.device, kernels):  # L2 needs per-image norms: PyTorch's reductions everywhere
        return reference.apgd_step(*given, norm)
    from zsr_kernels.cuda.apgd_step import launch

    return launch(*given)


def apgd_track(
    x: Tensor,
    grad: Tensor,
    loss: Tensor,
    x_best: Tensor,
    grad_best: Tensor,
    loss_best: Tensor,
    loss_last: Tensor,
    rises: Tensor,
    kernels: str = "auto",
) -> None:
    """In place on the last five tensors."""
    check(
        "apgd_track", x, grad=grad, loss=loss, x_best=x_best, grad_best=grad_best, loss_best=loss_best,
        loss_last=loss_last, rises=rises,
    )  # fmt: skip
    if not use_triton(x.device, kernels):
        reference.apgd_track(x, grad, loss, x_best, grad_best, loss_best, loss_last, rises)
        return
    from zsr_kernels.cuda.apgd_track import launch

    launch(x, grad, loss, x_best, grad_best, loss_best, loss_last, rises)
