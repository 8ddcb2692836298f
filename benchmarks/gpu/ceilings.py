"""The two ceilings of a GPU: bytes per second of a copy, operations per second of a matrix product."""

from typing import NamedTuple

import torch
from torch import Tensor

from gpu.bench import Bench, per_second
from zsr.models.precision import arithmetic

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "tf32": torch.float32, "fp32": torch.float32}


class Ceiling(NamedTuple):
    """What the GPU does in a second, and the milliseconds of each run behind it."""

    rate: float
    times: list[float]


def nbytes(*tensors: Tensor) -> int:
    """Of all tensors together."""
    return sum(t.numel() * t.element_size() for t in tensors)


def copy_ceiling(bench: Bench, size: int) -> Ceiling:
    """Bytes per second of a copy on the device: `size` bytes read and as many written."""
    source = torch.empty(size, dtype=torch.uint8, device=bench.device).random_(0, 256)
    target = torch.empty_like(source)
    times = bench.time_kernel(lambda: target.copy_(source))
    return Ceiling(per_second(2 * size, times), times)


def matmul_ceiling(bench: Bench, precision: str) -> Ceiling:
    """Operations per second of a large square product of random numbers (zeros would be faster)."""
    n = bench.size(8192, 256)
    a, b = (torch.randn(n, n, device=bench.device, dtype=DTYPES[precision]) for _ in range(2))
    with arithmetic(torch.device(bench.device), "tf32" if precision == "tf32" else "fp32"):
        times = bench.time_kernel(lambda: a @ b, 100)
    return Ceiling(per_second(2 * n**3, times), times)
