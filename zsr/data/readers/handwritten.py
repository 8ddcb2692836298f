"""The 1,797 handwritten digits that scikit-learn carries (UCI ML, Alpaydin & Kaynak 1998): the benchmark's real images.

Each is 8×8 with values 0…16, counts of ink in 4×4 blocks of a 32×32 scan. The ink is laid, in a colour drawn by seed,
on the same noisy ground as the drawn images, so that contrast is the same knob here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from zsr.data.drawing.canvas import compose, enlarge
from zsr.data.drawing.scene import COLOUR
from zsr.data.prepared import Chunk
from zsr.data.reader import Reader
from zsr.errors import ZsrError


@dataclass(frozen=True)
class Handwritten(Reader):
    """One split, `test`, in an order drawn by seed."""

    contrast: tuple[float, float] = (0.3, 0.7)
    noise: int = 4

    def read(self, split: str) -> Iterator[Chunk]:
        if split != "test":
            raise ZsrError(f"reader 'handwritten' has no split '{split}'; it has 'test' alone: nothing trains on it")
        from sklearn.datasets import load_digits  # a second of import that the plan and other readers do not need

        digits = load_digits()
        rng = np.random.Generator(np.random.PCG64([self.seed, 8]))
        order = rng.permutation(len(digits.target))
        ink = enlarge(digits.images[order].astype(np.float32) / np.float32(16))  # [1797, 32, 32]
        colour = rng.integers(len(COLOUR), size=len(order))
        yield Chunk(compose(ink, colour, self.contrast, self.noise, rng), digits.target[order].astype(np.int64))
