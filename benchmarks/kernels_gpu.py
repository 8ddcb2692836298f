"""Kernel bandwidth on a GPU: Triton, eager reference and compiled reference, against the device's own copy.

    python benchmarks/kernels_gpu.py

Bytes counted: every input read once, every output written once. Goal: the L-infinity step at 90 % of the copy's rate
for 256 x 3 x 224^2 and more, and never slower than the compiled reference. Writes benchmarks/results/kernels_gpu.csv.
"""

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import zsr_kernels
from zsr_kernels import reference

RESULTS = Path(__file__).parent / "results" / "kernels_gpu.csv"
SIZES = [(8, 32), (64, 32), (512, 32), (8, 224), (64, 224), (256, 224), (512, 224)]
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def nbytes(*tensors: Tensor) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def cases(batch: int, size: int, device: str, half: bool) -> dict[str, tuple[Callable, Callable, int]]:
    """op -> (kernel, reference, bytes)."""
    shape = (batch, 3, size, size)
    x0 = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    x = reference.pixels(x0)
    dtype = torch.float16 if half else torch.float32
    g = torch.randn(shape, device=device).to(dtype)
    mean, std = torch.tensor(MEAN, device=device), torch.tensor(STD, device=device)
    rows = torch.full((batch,), 0.01, device=device)
    keys = torch.arange(batch, device=device)
    restore = torch.zeros(batch, dtype=torch.bool, device=device)
    step = (x, x0, g, rows, 0.01, mean, std, dtype)
    apgd = (x, x.clone(), x.clone(), x0, g, g.clone(), restore, rows, rows, 0.01)  # read twice, a tensor costs once
    out = nbytes(x) + nbytes(g)
    return {
        "linf_step": (lambda: zsr_kernels.linf_step(*step), reference.linf_step, step, nbytes(x, x0, g) + out),
        "l2_step": (lambda: zsr_kernels.l2_step(*step), reference.l2_step, step, nbytes(x, x0, g) + out),
        "apgd_step": (
            lambda: zsr_kernels.apgd_step(*apgd, "linf", mean, std, dtype),
            reference.apgd_step, (*apgd, mean, std, dtype), nbytes(x, x, x0, g) + nbytes(x) + out,
        ),
        "normalize": (
            lambda: zsr_kernels.normalize(x0, mean, std, dtype),
            reference.normalize, (x0, mean, std, dtype), nbytes(x0, g),
        ),
        "start": (
            lambda: zsr_kernels.start(x0, keys, 0, 0, 0.01, "linf", mean, std, dtype),
            reference.start, (x0, keys, 0, 0, 0.01, "linf", mean, std, dtype), nbytes(x0) + out,
        ),
    }  # fmt: skip


def main() -> None:
    if not torch.cuda.is_available():
        sys.exit("benchmarks/kernels_gpu.py needs a CUDA device")
    from triton.testing import do_bench

    found = []
    for batch, size in SIZES:
        source = torch.empty(batch, 3, size, size, device="cuda")
        target = torch.empty_like(source)
        copy_rate = 2 * nbytes(source) / do_bench(lambda t=target, s=source: t.copy_(s), quantiles=[0.5]) / 1e6
        for half in (False, True):
            for op, (kernel, plain, arguments, size_bytes) in cases(batch, size, "cuda", half).items():
                compiled = torch.compile(plain, dynamic=False)
                providers = {
                    "triton": kernel,
                    "compile": lambda f=compiled, a=arguments: f(*a),
                    "eager": lambda f=plain, a=arguments: f(*a),
                }
                for provider, run in providers.items():
                    median, low, high = do_bench(run, quantiles=[0.5, 0.2, 0.8])
                    rate = size_bytes / median / 1e6
                    found.append(
                        {
                            "op": op,
                            "batch": batch,
                            "size": size,
                            "gradient": "fp16" if half else "fp32",
                            "provider": provider,
                            "ms": round(median, 5),
                            "ms_20": round(low, 5),
                            "ms_80": round(high, 5),
                            "GB_s": round(rate, 1),
                            "of_copy": round(rate / copy_rate, 3),
                            "copy_GB_s": round(copy_rate, 1),
                            "gpu": torch.cuda.get_device_name(),
                            "torch": torch.__version__,
                        }
                    )
                    print(*found[-1].values(), flush=True)
                torch._dynamo.reset()
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, found[0])
        writer.writeheader()
        writer.writerows(found)


if __name__ == "__main__":
    main()
