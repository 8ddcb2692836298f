"""Bandwidth of each kernel, as a share of a copy of as many bytes: every input read once, every output written once."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

import zsr_kernels
from gpu.bench import Bench, middle
from gpu.rates import copy_rate, nbytes
from gpu.towers import MEAN, STD
from zsr.attacks import hyperplane
from zsr_kernels import balls, reference

SIZES = [(256, 224), (32, 224), (512, 32)]
GRADIENTS = {"fp16": torch.float16, "fp32": torch.float32}
COMPILED = ("linf_step", "normalize")  # by torch.compile too, at the first size: compiling is what takes long
LOOKS = {"every": lambda k, _: True, "eighth": lambda k, _: k % 8 == 7, "never": lambda k, _: False}


class Op(NamedTuple):
    """A kernel, the same in plain PyTorch, and the bytes that neither can avoid."""

    kernel: Callable[[], object]
    plain: Callable[..., object]
    arguments: tuple
    bytes: int


def run(bench: Bench) -> None:
    for batch, size in SIZES:
        small = bench.size((batch, size), (2, 16))
        ceiling = copy_rate(bench, 8 * 3 * small[0] * small[1] ** 2)  # reads and writes about what linf_step does
        for gradient, name in itertools.product(GRADIENTS, OPS):
            compiled = (batch, size) == SIZES[0] and gradient == "fp16" and name in COMPILED
            sides = ("triton", "eager", "compiled") if compiled else ("triton", "eager")
            label = f"{name}, {batch} × 3 × {size}², {gradient} gradient"
            with bench.case(label, *sides, seconds=30 if compiled else 2) as wanted:
                if wanted:
                    op = OPS[name](_tensors(*small, GRADIENTS[gradient], bench.device))
                    for side in sides:
                        times = bench.kernel(side_of(op, side, bench))
                        bench.row(label, side, op.bytes / middle(times) * 1e3 / ceiling, "of the copy", times)
    rounds(bench)


def side_of(op: Op, side: str, bench: Bench) -> Callable[[], object]:
    """What is timed; compiled ones once before."""
    if side == "triton":
        return op.kernel
    plain = op.plain
    if side == "compiled":
        plain = torch.compile(plain, dynamic=False, backend="inductor" if bench.cuda else "eager")
        plain(*op.arguments)
    return partial(plain, *op.arguments)


class Tensors(NamedTuple):
    """The arguments of the ops."""

    x: Tensor
    x0: Tensor
    grad: Tensor
    rows: Tensor  # [B] steps
    mean: Tensor
    std: Tensor


def _tensors(batch: int, size: int, dtype: torch.dtype, device: str) -> Tensors:
    shape = (batch, 3, size, size)
    x0 = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    grad = torch.randn(shape, device=device).to(dtype)
    mean, std = torch.tensor(MEAN, device=device), torch.tensor(STD, device=device)
    return Tensors(reference.pixels(x0), x0, grad, torch.full((batch,), 0.01, device=device), mean, std)


def linf_step(t: Tensors) -> Op:
    arguments = (t.x, t.x0, t.grad, t.rows, 0.01, t.mean, t.std, t.grad.dtype)
    return _op(zsr_kernels.linf_step, reference.linf_step, arguments, nbytes(t.x, t.x0, t.grad, t.x, t.grad))


def l2_step(t: Tensors) -> Op:
    arguments = (t.x, t.x0, t.grad, t.rows, 0.01, t.mean, t.std, t.grad.dtype)
    return _op(zsr_kernels.l2_step, reference.l2_step, arguments, nbytes(t.x, t.x0, t.grad, t.x, t.grad))


def apgd_step(t: Tensors) -> Op:
    """With images that may go back to their best: tensors of their own, of which the kernel reads one or the other."""
    restore = torch.zeros(len(t.x), dtype=torch.bool, device=t.x.device)
    first = (t.x, t.x.clone(), t.x.clone(), t.x0, t.grad, t.grad.clone(), restore, t.rows, t.rows, 0.01)
    last = (t.mean, t.std, t.grad.dtype)
    size = nbytes(t.x, t.x, t.x0, t.grad) + nbytes(t.x, t.x, t.grad)  # written: x', where it started, the input
    kernel = partial(zsr_kernels.apgd_step, *first, "linf", *last)
    return Op(kernel, reference.apgd_step, (*first, *last), size)


def apgd_track(t: Tensors) -> Op:
    """Every image has improved: the most that it copies."""
    lost = torch.full((len(t.x),), -torch.inf, device=t.x.device)
    best = [t.x.clone(), t.grad.clone(), lost.clone(), lost.clone(), torch.zeros_like(lost, dtype=torch.int64)]

    def improved(track: Callable[..., object]) -> object:
        best[2].fill_(-torch.inf)
        return track(t.x, t.grad, t.rows, *best)

    size = 2 * nbytes(t.x, t.grad)
    return Op(partial(improved, zsr_kernels.apgd_track), partial(improved, reference.apgd_track), (), size)


def normalize(t: Tensors) -> Op:
    arguments = (t.x0, t.mean, t.std, t.grad.dtype)
    return _op(zsr_kernels.normalize, reference.normalize, arguments, nbytes(t.x0, t.grad))


def start(t: Tensors) -> Op:
    keys = torch.arange(len(t.x), device=t.x.device)
    arguments = (t.x0, keys, 0, 0, 0.01, "linf", t.mean, t.std, t.grad.dtype)
    return _op(zsr_kernels.start, reference.start, arguments, nbytes(t.x0, t.x, t.grad))


OPS = {
    "linf_step": linf_step, "apgd_step": apgd_step, "apgd_track": apgd_track, "normalize": normalize,
    "start": start, "l2_step": l2_step,
}  # fmt: skip


def _op(kernel: Callable, plain: Callable, arguments: tuple, size: int) -> Op:
    return Op(partial(kernel, *arguments), plain, arguments, size)


def rounds(bench: Bench) -> None:
    """FAB's projection and the L1 projection, when the host asks in every round, in every eighth or never whether all
    rows are done: asking waits for the device."""
    batch, size = bench.size((64, 224), (2, 16))
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(batch, 3, size, size, generator=generator).to(bench.device)
    w = torch.randn(batch, 3 * size * size, generator=generator).to(bench.device)
    need = 20 * torch.rand(batch, generator=generator).to(bench.device)
    work = {
        "hyperplane": partial(hyperplane.project_onto_hyperplane, x.flatten(1), w, need, "linf"),
        "L1 ball": partial(balls.l1_project, x + 0.1 * w.view_as(x), x, 12.0),
    }
    for name, project in work.items():
        label = f"projection, {name}, 64 × 3 × 224²"
        with bench.case(label, *LOOKS, seconds=5) as wanted:
            if wanted:
                sides = {side: partial(_looking, look, project) for side, look in LOOKS.items()}
                for side in sides.values():
                    side()
                for side, times in bench.turns(sides, 9).items():
                    bench.row(label, side, middle(times), "ms", times)


def _looking(look: Callable, project: Callable[[], Tensor]) -> Tensor:
    before, hyperplane.rarely, balls.rarely = balls.rarely, look, look
    try:
        return project()
    finally:
        hyperplane.rarely = balls.rarely = before
