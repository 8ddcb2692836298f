"""The ceilings: everything else is read as a share of these."""

from gpu.bench import Bench, middle
from gpu.rates import DTYPES, copy_times, matmul_times


def run(bench: Bench) -> None:
    """A large copy, and large products in each precision."""
    with bench.case("device copy", "torch") as wanted:
        if wanted:
            size = bench.size(2**31, 2**22)
            times = copy_times(bench, size)
            bench.row("device copy", "torch", 2 * size / middle(times) / 1e6, "GB/s", times)
    for precision in DTYPES:
        with bench.case("matrix product", precision) as wanted:
            if wanted:
                n = bench.size(8192, 256)
                times = matmul_times(bench, precision, n)
                bench.row("matrix product", precision, 2 * n**3 / middle(times) / 1e9, "TFLOP/s", times)
