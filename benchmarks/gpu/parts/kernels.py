"""Bandwidth of each kernel, as a share of a copy of about as many bytes. Each input counts once, each output once."""

import itertools
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from torch import Tensor

from gpu.bench import Bench, per_second
from gpu.ceilings import copy_ceiling
from gpu.ops import OPS, arguments
from gpu.rows import COPY
from zsr.attacks.core import hyperplane
from zsr_kernels import balls

SIZES = [(256, 224), (32, 224), (512, 32)]
GRADIENTS = {"fp16": torch.float16, "fp32": torch.float32}
COMPILED = ("linf_step", "normalize")  # by torch.compile too, at the first size: compiling takes the time
SYNC = {"every round": lambda k, _: True, "every 8th": lambda k, _: k % 8 == 7, "never": lambda k, _: False}


def run(bench: Bench) -> None:
    for batch, size in SIZES:
        shape = bench.size((batch, size), (2, 16))
        pixels = 3 * shape[0] * shape[1] ** 2
        ceiling = copy_ceiling(bench, 8 * pixels).rate  # reads and writes about what linf_step does
        for gradient, name in itertools.product(GRADIENTS, OPS):
            label = f"{name}, {batch} × 3 × {size}², {gradient} gradient"
            bench.case(label, partial(kernel, bench, label, name, shape, gradient, ceiling), seconds=2)
    for name in COMPILED:
        batch, size = SIZES[0]
        label = f"{name}, {batch} × 3 × {size}², fp16 gradient, compiled"
        bench.case(label, partial(compiled, bench, label, name), seconds=25)
    for name in ("hyperplane", "L1 ball"):
        label = f"projection, {name}, 64 × 3 × 224²"
        bench.case(label, partial(projection, bench, label, name), seconds=5)


def kernel(bench: Bench, label: str, name: str, shape: tuple[int, int], gradient: str, ceiling: float) -> None:
    """Triton, and the reference launched operation by operation."""
    op = OPS[name](arguments(*shape, GRADIENTS[gradient], bench.device))
    for side, kernels in {"triton": "auto", "eager": "reference"}.items():
        times = bench.time_kernel(partial(op.call, kernels))
        bench.row(label, side, per_second(op.bytes, times) / ceiling, COPY, times)


def compiled(bench: Bench, label: str, name: str) -> None:
    """torch.compile of the reference, beside Triton."""
    op = OPS[name](arguments(*bench.size(SIZES[0], (2, 16)), torch.float16, bench.device))
    plain = torch.compile(op.plain, dynamic=False, backend="inductor" if bench.cuda else "eager")
    plain()
    for side, call in {"triton": partial(op.call, "auto"), "compiled": plain}.items():
        times = bench.time_kernel(call)
        bench.row(label, side, median(times), "ms", times)


def projection(bench: Bench, label: str, name: str) -> None:
    """FAB's or the L1 projection, with a device sync (are all rows done?) every round, every eighth round, or never."""
    batch, size = bench.size((64, 224), (2, 16))
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(batch, 3, size, size, generator=generator).to(bench.device)
    w = torch.randn(batch, 3 * size * size, generator=generator).to(bench.device)
    need = 20 * torch.rand(batch, generator=generator).to(bench.device)
    project = {
        "hyperplane": partial(hyperplane.project_onto_hyperplane, x.flatten(1), w, need, "linf"),
        "L1 ball": partial(balls.l1_project, x + 0.1 * w.view_as(x), x, 12.0),
    }[name]
    sides = {side: partial(with_sync, when, project) for side, when in SYNC.items()}
    for side in sides.values():
        side()
    for side, times in bench.time_in_turns(sides, 9).items():
        bench.row(label, side, median(times), "ms", times)


def with_sync(when: Callable, project: Callable[[], Tensor]) -> Tensor:
    """The projection with another rule for when the host asks."""
    before, hyperplane.rarely, balls.rarely = balls.rarely, when, when
    try:
        return project()
    finally:
        hyperplane.rarely = balls.rarely = before
