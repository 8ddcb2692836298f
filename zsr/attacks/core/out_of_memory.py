"""When memory runs out in a forward or a backward, half as many images pass at once, and one note says so.

Only the passes through the network are cut. The attack's own state stays one batch, and every image keeps its slot, its
step and its random numbers, so verdicts do not change. A model that draws random numbers itself draws others for a
smaller batch.
"""

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Passes:
    """Image-passes through the network: one image, once forward or once backward."""

    forward: int = 0
    backward: int = 0


class Memory:
    """How many images fit through the network at once; learned when it runs out, and kept."""

    def __init__(self, passes: Passes) -> None:
        self.passes = passes
        self.most: int | None = None  # None: the whole batch
        self.notes: list[str] = []

    def within(self, look: Callable[..., tuple[Tensor, ...]], *given: Tensor) -> tuple[Tensor, ...]:
        """`look(*given)`, in as many parts as memory needs; all tensors are [B, ...], in and out."""
        while True:
            size = len(given[0])
            step = min(self.most or size, size) or 1
            before = self.passes.forward, self.passes.backward
            try:
                parts = [look(*(t[i : i + step] for t in given)) for i in range(0, max(size, 1), step)]
            except torch.OutOfMemoryError:
                if step == 1:
                    raise
                failed = step
            else:
                return parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))
            # outside the handler: its traceback would keep the graph alive
            self.passes.forward, self.passes.backward = before
            self._halve(failed)

    def _halve(self, failed: int) -> None:
        self.most = -(-failed // 2)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        said = f"out of memory at {failed} images: {self.most} at once from here on, verdicts unchanged"
        if not self.notes:
            print(said, file=sys.stderr, flush=True)
        self.notes[:] = [said]
