"""Peak memory of PGD on a tower, ours against torchattacks (benchmarks/memory.py is the same for other batches)."""

from memory import peaks

from gpu.bench import Bench


def run(bench: Bench) -> None:
    label, (name, batch) = "PGD, B/32, batch 256", bench.size(("B/32", 256), ("tiny", 2))
    with bench.case(label, "ours", "torchattacks", seconds=10) as wanted:
        if wanted:
            for side, megabytes in peaks(name, batch, 2, bench.device):
                bench.row(label, side, megabytes, "MB")
