"""The ceilings: other parts report shares of these."""

from functools import partial

from gpu.bench import Bench
from gpu.ceilings import DTYPES, copy_ceiling, matmul_ceiling


def run(bench: Bench) -> None:
    bench.case("device copy", partial(copy, bench))
    for precision in DTYPES:
        bench.case(f"matrix product, {precision}", partial(product, bench, precision))


def copy(bench: Bench) -> None:
    """A copy that is much larger than the L2 cache."""
    rate, times = copy_ceiling(bench, bench.size(2**31, 2**22))
    bench.row("device copy", "torch", rate / 1e9, "GB/s", times)


def product(bench: Bench, precision: str) -> None:
    rate, times = matmul_ceiling(bench, precision)
    bench.row(f"matrix product, {precision}", "torch", rate / 1e12, "TFLOP/s", times)
