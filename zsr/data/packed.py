"""A split that stays encoded: one file of JPEGs end to end, decoded when they are indexed.

ImageNet's training part is 193 GB decoded at 224 and 138 GB encoded. `Encoded` is used in place of the
memory-mapped array of a decoded split: indexing it gives the same uint8 [n, 3, H, W], bit for bit.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np

from zsr.data.cpu_count import usable_cpus
from zsr.data.image import prepared
from zsr.data.transforms import Transform
from zsr.errors import ZsrError

TABLE = np.dtype([("label", np.int64), ("start", np.int64), ("bytes", np.int64)])


class Encoded:
    """Pictures by index, decoded in threads."""

    dtype = np.dtype(np.uint8)

    def __init__(
        self, content: np.ndarray, table: np.ndarray, transform: Transform, workers: int | None = None
    ) -> None:
        side = side_of(transform)
        self.content, self.table, self.transform = content, table, transform
        self.workers = workers or usable_cpus()
        self.shape = (len(table), 3, side, side)

    def __len__(self) -> int:
        return len(self.table)

    def select(self, rows: np.ndarray) -> "Encoded":
        """Some of the pictures, still encoded."""
        return Encoded(self.content, self.table[rows], self.transform, self.workers)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.workers)

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        chosen = self.table[rows]
        if isinstance(chosen, np.void):
            return self._one(chosen)
        out = np.empty((len(chosen), *self.shape[1:]), np.uint8)

        def work(i: int) -> None:
            out[i] = self._one(chosen[i])

        for _ in self._pool.map(work, range(len(chosen))):
            pass  # an error in a thread is raised here
        return out

    def _one(self, row: np.void) -> np.ndarray:
        content = self.content[row["start"] : row["start"] + row["bytes"]].tobytes()
        file = getattr(self.content, "filename", "the packed pictures")
        return prepared(content, f"{file}: the picture at byte {row['start']}", self.transform)


def side_of(transform: Transform) -> int:
    """The side that all pictures are resized to; a transform without one is refused."""
    if transform.side is None:
        raise ZsrError("a split that stays encoded needs a transform that resizes, such as 224")
    return transform.side
