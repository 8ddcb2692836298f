"""Images that the project draws itself: the embedded benchmark (docs/benchmark.md)."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from zsr.data.drawing.canvas import paint
from zsr.data.drawing.captions import tell
from zsr.data.drawing.scene import VIEWS, sample
from zsr.data.prepared import Chunk
from zsr.data.reader import Reader
from zsr.errors import unknown

CHUNK = 500  # images per chunk, each with its own random stream: a longer split begins with the shorter one


@dataclass(frozen=True)
class Drawn(Reader):
    """`view`: what the labels ask about. Splits differ in their random stream alone."""

    view: str = "everything"
    contrast: tuple[float, float] = (0.3, 0.7)  # of 1: least and most; lower is harder, and less robust
    noise: int = 4  # speckle of the ground, ± so many of 255 steps
    captions: int = 0  # captions per image; 0: none

    def read(self, split: str) -> Iterator[Chunk]:
        if self.view not in VIEWS:
            raise unknown("view", self.view, VIEWS, "reader 'drawn'")
        number = 0
        while True:  # as long as anyone asks
            rng = np.random.Generator(np.random.PCG64([self.seed, zlib.crc32(f"{self.view}/{split}".encode()), number]))
            scene = sample(self.view, CHUNK, rng)
            images = paint(scene, self.contrast, self.noise, rng)
            yield Chunk(images, scene.label, tell(scene, rng, self.captions) if self.captions else None)
            number += 1
