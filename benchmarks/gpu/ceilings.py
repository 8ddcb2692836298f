"""The two ceilings of a GPU: bytes per second of a copy, operations per second of a matrix product."""

import torch
from torch import Tensor

from gpu.bench import Bench, per_second
from zsr.attacks.arithmetic import arithmetic

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "tf32": torch.float32, "fp32": torch.float32}


def nbytes(*tensors: Tensor) -> int:
    """Of all tensors together."""
    return sum(t.numel() * t.element_size() for t in tensors)


def copy_times(bench: Bench, size: int) -> list[float]:
    """Milliseconds of a copy on the device that reads `size` bytes and writes as many."""
    source = torch.empty(size, dtype=torch.uint8, device=bench.device).random_(0, 256)
    target = torch.empty_like(source)
    return bench.time_kernel(lambda: target.copy_(source))


def copy_rate(bench: Bench, size: int) -> float:
    """Bytes per second, read and written counted."""
    return per_second(2 * size, copy_times(bench, size))


def matmul_times(bench: Bench, precision: str, n: int) -> list[float]:
    """Milliseconds of an n × n product of random numbers (zeros would be faster)."""
    a, b = (torch.randn(n, n, device=bench.device, dtype=DTYPES[precision]) for _ in range(2))
    with arithmetic(torch.device(bench.device), "tf32" if precision == "tf32" else "fp32"):
        return bench.time_kernel(lambda: a @ b, 100)


def matmul_rate(bench: Bench, precision: str) -> float:
    """Operations per second."""
    n = bench.size(8192, 256)
    return per_second(2 * n**3, matmul_times(bench, precision, n))
