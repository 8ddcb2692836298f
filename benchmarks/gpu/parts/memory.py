"""Peak memory of PGD on a tower, ours against torchattacks (benchmarks/pgd_memory.py is the same on a CPU)."""

from functools import partial

from pgd_memory import peaks

from gpu.bench import Bench

LABEL = "PGD, B/32, batch 256"


def run(bench: Bench) -> None:
    bench.case(LABEL, partial(compare, bench), seconds=10)


def compare(bench: Bench) -> None:
    """Megabytes that each side adds to the model and the images."""
    name, batch = bench.size(("B/32", 256), ("tiny", 2))
    for side, megabytes in peaks(name, batch, 2, bench.device):
        bench.row(LABEL, side, megabytes, "MB")
