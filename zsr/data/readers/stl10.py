"""STL-10, the binary archive: columns first, labels from 1. The unlabelled images are not read."""

from dataclasses import dataclass

import numpy as np

from zsr.data.file_reader import FileReader
from zsr.data.pictures import Pictures, from_arrays, split_of
from zsr.data.sources import Sources
from zsr.errors import ZsrError

SIDE = 96


@dataclass(frozen=True)
class Stl10(FileReader):
    """`train` and `test`."""

    archive: str = "stl10_binary.tar.gz"

    def open(self, split: str, sources: Sources) -> Pictures:
        split_of(split, ("train", "test"), "stl10")
        tree = sources.tree(self.archive)
        names = [f"stl10_binary/{split}_X.bin", f"stl10_binary/{split}_y.bin"]
        contents = dict(tree.stream(names))
        if len(contents) < 2:
            raise ZsrError(f"{tree.path}: holds no '{names[0]}' or no '{names[1]}'")
        pixels, labels = (np.frombuffer(contents[name], np.uint8) for name in names)
        if pixels.size != labels.size * 3 * SIDE * SIDE:
            raise ZsrError(f"{tree.path}: {names[0]} has {pixels.size} bytes for {labels.size} labels; get it again")
        images = pixels.reshape(-1, 3, SIDE, SIDE).transpose(0, 3, 2, 1)
        return from_arrays(images, labels.astype(np.int64) - 1, str(tree.path))
