"""The kernels as they are called in an attack: one table for checking them and for timing them."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

import zsr_kernels
from gpu.ceilings import nbytes
from gpu.towers import MEAN, STD
from zsr_kernels import Normalisation, reference


class Arguments(NamedTuple):
    """Tensors that the ops take, `step` one value per image; APGD's three further iterates are copies of `x`."""

    x: Tensor
    x0: Tensor
    grad: Tensor
    step: Tensor
    mean: Tensor
    std: Tensor

    def to(self, device: str) -> "Arguments":
        return Arguments(*(t.to(device) for t in self))

    @property
    def normalisation(self) -> Normalisation:
        """The network takes the dtype of its gradient."""
        return Normalisation(self.mean, self.std, self.grad.dtype)


def arguments(batch: int, size: int, gradient: torch.dtype, device: str) -> Arguments:
    """Random numbers, drawn on the device."""
    shape, g = (batch, 3, size, size), torch.Generator(device).manual_seed(0)
    x0 = torch.randint(0, 256, shape, generator=g, dtype=torch.uint8, device=device)
    x = (reference.pixels(x0) + 0.02 * (torch.rand(shape, generator=g, device=device) - 0.5)).clamp(0, 1)
    grad = torch.randn(shape, generator=g, device=device).to(gradient)
    mean, std = torch.tensor(MEAN, device=device), torch.tensor(STD, device=device)
    return Arguments(x, x0, grad, torch.full((batch,), 0.002, device=device), mean, std)


class Op(NamedTuple):
    """`call(kernels)` runs it ('auto' is Triton on CUDA, 'reference' PyTorch); `bytes` that it cannot avoid to move."""

    call: Callable[[str], tuple[Tensor, ...]]
    bytes: int
    plain: Callable[[], object]  # the reference's function itself, for a compiler


def pgd_step(name: str, eps: float, a: Arguments) -> Op:
    """`linf_step` or `l2_step`, which take the same arguments."""
    given = (a.x, a.x0, a.grad, a.step, eps, a.normalisation)
    return Op(
        lambda kernels: getattr(zsr_kernels, name)(*given, kernels),
        nbytes(a.x, a.x0, a.grad) + nbytes(a.x, a.grad),
        lambda: getattr(reference, name)(*given),
    )


def apgd_step(a: Arguments) -> Op:
    """With images that may go back to their best; each iterate is a tensor of its own, of which one or two are read."""
    restore = torch.zeros(len(a.x), dtype=torch.bool, device=a.x.device)
    weight = torch.full_like(a.step, 0.75)
    first = (a.x, a.x.clone(), a.x.clone(), a.x0, a.grad, a.grad.clone(), restore, a.step, weight, 0.01)
    return Op(
        lambda kernels: zsr_kernels.apgd_step(*first, "linf", a.normalisation, kernels),
        nbytes(a.x, a.x, a.x0, a.grad) + nbytes(a.x, a.x, a.grad),  # written: the iterate, its start, the input
        lambda: reference.apgd_step(*first, a.normalisation),
    )


def apgd_track(a: Arguments) -> Op:
    """Every image has improved, so that all are copied."""
    worst = torch.full((len(a.x),), -torch.inf, device=a.x.device)
    best = [a.x.clone(), a.grad.clone(), worst.clone(), worst.clone(), torch.zeros_like(worst, dtype=torch.int64)]

    def call(kernels: str) -> tuple[Tensor, ...]:
        best[2].fill_(-torch.inf)
        zsr_kernels.apgd_track(a.x, a.grad, a.step, *best, kernels=kernels)
        return best[0], best[1]

    return Op(call, 2 * nbytes(a.x, a.grad), lambda: reference.apgd_track(a.x, a.grad, a.step, *best))


def normalize(a: Arguments) -> Op:
    given = (a.x0, a.normalisation)
    return Op(
        lambda kernels: (zsr_kernels.normalize(*given, kernels),),
        nbytes(a.x0, a.grad),
        lambda: reference.normalize(*given),
    )


def start(a: Arguments) -> Op:
    keys = torch.arange(len(a.x), device=a.x.device)
    given = (a.x0, keys, 1, 2, 0.01, "linf", a.normalisation)
    return Op(
        lambda kernels: zsr_kernels.start(*given, kernels),
        nbytes(a.x0) + nbytes(a.x, a.grad),
        lambda: reference.start(*given),
    )


OPS: dict[str, Callable[[Arguments], Op]] = {
    "linf_step": partial(pgd_step, "linf_step", 0.01), "apgd_step": apgd_step, "apgd_track": apgd_track,
    "normalize": normalize, "start": start, "l2_step": partial(pgd_step, "l2_step", 1.0),
}  # fmt: skip
