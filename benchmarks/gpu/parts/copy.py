"""The ceilings: other parts report shares of these."""

from functools import partial

from gpu.bench import Bench, per_second
from gpu.ceilings import DTYPES, copy_times, matmul_times


def run(bench: Bench) -> None:
    bench.case("device copy", partial(copy, bench))
    for precision in DTYPES:
        bench.case(f"matrix product, {precision}", partial(product, bench, precision))


def copy(bench: Bench) -> None:
    """A copy that is much larger than the L2 cache."""
    size = bench.size(2**31, 2**22)
    times = copy_times(bench, size)
    bench.row("device copy", "torch", per_second(2 * size, times) / 1e9, "GB/s", times)


def product(bench: Bench, precision: str) -> None:
    """A large square product."""
    n = bench.size(8192, 256)
    times = matmul_times(bench, precision, n)
    bench.row(f"matrix product, {precision}", "torch", per_second(2 * n**3, times) / 1e12, "TFLOP/s", times)
