"""The parts of benchmarks/on_gpu.py with what they do on a GPU alone, on a CPU that pretends to be one.

    python tests/support/pretended_gpu.py OUT PART …

Streams, graphs, events and the allocator do nothing; the rest is real: float16 weights and autocast, TF32 flags, every
side of every case. It finds mistakes before a GPU is used; the rows mean nothing.
"""

import contextlib
import importlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import triton.testing
from gpu.bench import Bench
from gpu.parts import chain
from gpu.rows import Rows

from zsr.attacks.core.victim import Victim

MOST = 8  # images that "fit" where memory is limited


class Pretended(Bench):
    """Takes the branches of a GPU."""

    cuda = True


class Stream:
    def wait_stream(self, other: "Stream") -> None:
        """Nothing runs beside."""


class Graph:
    def replay(self) -> None:
        """Nothing was captured."""


@contextlib.contextmanager
def limited_memory(size: float) -> Iterator[None]:
    """Forwards of more than a few images fail as the allocator does."""
    checked = Victim._checked

    def limited(self: Victim, logits: torch.Tensor, count: int) -> torch.Tensor:
        if count > MOST:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return checked(self, logits, count)

    Victim._checked = limited
    try:
        yield
    finally:
        Victim._checked = checked


def pretend() -> None:
    for name in ("synchronize", "reset_peak_memory_stats", "empty_cache"):
        setattr(torch.cuda, name, lambda *_: None)
    torch.cuda.memory_allocated = torch.cuda.max_memory_allocated = lambda *_: 2**20
    torch.cuda.Stream = torch.cuda.current_stream = Stream
    torch.cuda.stream = torch.cuda.graph = lambda _: contextlib.nullcontext()
    torch.cuda.CUDAGraph = Graph
    triton.testing.do_bench = lambda run, **options: (run(), [1.0, 2.0, 3.0])[1]
    torch.compile = lambda net, **options: net
    chain.limited_memory = limited_memory


def main(out: Path, *parts: str) -> None:
    pretend()
    torch.set_num_threads(1)
    machine = {"card": "pretended", "driver": "1", "torch": torch.__version__, "triton": "", "tiny": True}
    failed = []
    for part in parts:
        bench = Pretended(part, "cpu", True, Rows(out / "rows.jsonl", machine), time.time() + 600)
        importlib.import_module(f"gpu.parts.{part}").run(bench)
        failed += bench.failed
    sys.exit("\n".join(failed) or 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
