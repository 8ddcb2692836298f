"""The ops as torch sees them: `torch.ops.zsr.*`, with fake kernels, for `torch.compile`, export and `opcheck`.

An op of torch takes tensors and numbers only: mean, std and dtype are three arguments here.

Importing this module registers them. The attacks call the functions of the package directly: the registry costs a
second of imports (torch's compiler) and a dispatch per call, and gains nothing in eager mode.
"""

from typing import Any

import torch
from torch import Tensor

import zsr_kernels
from zsr_kernels import reference
from zsr_kernels.normalisation import Normalisation


def _apart(first: Tensor, second: Tensor) -> Tensor:
    """An op must not return one tensor twice: without a normalisation, pixels and network input are the same."""
    second = second.contiguous()
    return second.clone() if second.data_ptr() == first.data_ptr() else second


def _both(y: Tensor, net: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels and network input as an op returns them."""
    y = y.contiguous()
    return y, _apart(y, net)


def _fake(like: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """All ops return contiguous tensors, as Triton writes them, whatever the strides of the images."""
    return torch.empty_like(like, dtype=dtype, memory_format=torch.contiguous_format)


@torch.library.custom_op("zsr::linf_step", mutates_args=())
def linf_step(
    x: Tensor, x0: Tensor, grad: Tensor, step: Tensor, eps: Tensor, mean: Tensor | None, std: Tensor | None,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`zsr_kernels.linf_step`, step and eps as tensors [B] or [1]."""
    return _both(*zsr_kernels.linf_step(x, x0, grad, step, eps, Normalisation(mean, std, dtype)))


@torch.library.custom_op("zsr::l2_step", mutates_args=())
def l2_step(
    x: Tensor, x0: Tensor, grad: Tensor, step: Tensor, eps: Tensor, mean: Tensor | None, std: Tensor | None,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`zsr_kernels.l2_step`, step and eps as tensors [B] or [1]."""
    return _both(*zsr_kernels.l2_step(x, x0, grad, step, eps, Normalisation(mean, std, dtype)))


@torch.library.custom_op("zsr::l1_step", mutates_args=())
def l1_step(
    x: Tensor, x0: Tensor, grad: Tensor, step: Tensor, eps: Tensor, mean: Tensor | None, std: Tensor | None,
    dtype: torch.dtype, share: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`zsr_kernels.l1_step`, step and eps as tensors [B] or [1]."""
    return _both(*zsr_kernels.l1_step(x, x0, grad, step, eps, Normalisation(mean, std, dtype), share))


def _fake_step(
    x: Tensor, x0: Tensor, grad: Tensor, step: Tensor, eps: Tensor, mean: Tensor | None, std: Tensor | None,
    dtype: torch.dtype, share: float = 0.0,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return _fake(x), _fake(x, dtype)


for _op in (linf_step, l2_step, l1_step):
    _op.register_fake(_fake_step)


@torch.library.custom_op("zsr::apgd_step", mutates_args=())
def apgd_step(
    x: Tensor, x_prev: Tensor, x_best: Tensor, x0: Tensor, grad: Tensor, grad_best: Tensor, restore: Tensor | None,
    step: Tensor, weight: Tensor, eps: Tensor, norm: str, mean: Tensor | None, std: Tensor | None, dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """`zsr_kernels.apgd_step`."""
    y, start, net = zsr_kernels.apgd_step(
        x, x_prev, x_best, x0, grad, grad_best, restore, step, weight, eps, norm, Normalisation(mean, std, dtype)
    )
    y, net = _both(y, net)
    return y, _apart(x, start), net


@apgd_step.register_fake
def _(
    x: Tensor, x_prev: Tensor, x_best: Tensor, x0: Tensor, grad: Tensor, grad_best: Tensor, restore: Tensor | None,
    step: Tensor, weight: Tensor, eps: Tensor, norm: str, mean: Tensor | None, std: Tensor | None, dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return _fake(x), _fake(x), _fake(x, dtype)


@torch.library.custom_op("zsr::apgd_track", mutates_args=("x_best", "grad_best", "loss_best", "loss_last", "rises"))
def apgd_track(
    x: Tensor, grad: Tensor, loss: Tensor, x_best: Tensor, grad_best: Tensor, loss_best: Tensor, loss_last: Tensor,
    rises: Tensor,
) -> None:  # fmt: skip
    """`zsr_kernels.apgd_track`."""
    zsr_kernels.apgd_track(x, grad, loss, x_best, grad_best, loss_best, loss_last, rises)


@apgd_track.register_fake
def _(
    x: Tensor, grad: Tensor, loss: Tensor, x_best: Tensor, grad_best: Tensor, loss_best: Tensor, loss_last: Tensor,
    rises: Tensor,
) -> None:  # fmt: skip
    return None


@torch.library.custom_op("zsr::start", mutates_args=())
def start(
    x0: Tensor, keys: Tensor, seed: int, stream: int, eps: float, norm: str, mean: Tensor | None, std: Tensor | None,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`zsr_kernels.start`."""
    return _both(*zsr_kernels.start(x0, keys, seed, stream, eps, norm, Normalisation(mean, std, dtype)))


@start.register_fake
def _(
    x0: Tensor, keys: Tensor, seed: int, stream: int, eps: float, norm: str, mean: Tensor | None, std: Tensor | None,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return _fake(x0), _fake(x0, dtype)


@torch.library.custom_op("zsr::normalize", mutates_args=())
def normalize(x: Tensor, mean: Tensor, std: Tensor, dtype: torch.dtype) -> Tensor:
    """`zsr_kernels.normalize`, differentiable with respect to float images."""
    return zsr_kernels.normalize(x.detach(), Normalisation(mean, std, dtype)).contiguous()


@normalize.register_fake
def _(x: Tensor, mean: Tensor, std: Tensor, dtype: torch.dtype) -> Tensor:
    return _fake(x, dtype)


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[2])
    ctx.from_bytes = inputs[0].dtype == torch.uint8


def _normalize_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None, None]:
    (std,) = ctx.saved_tensors
    return None if ctx.from_bytes else reference.normalize_backward(grad, std), None, None, None


normalize.register_autograd(_normalize_backward, setup_context=_save_for_backward)
