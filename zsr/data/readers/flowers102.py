"""Oxford 102 Flowers: imagelabels.mat has the class of each image from 1, setid.mat the images of each split."""

from dataclasses import dataclass

import numpy as np

from zsr.data.file_reader import FileReader
from zsr.data.labels import label_of
from zsr.data.lists import matlab
from zsr.data.pictures import Entry, Pictures, from_trees, split_of
from zsr.data.sources import Sources
from zsr.errors import ZsrError

SPLITS = {"train": "trnid", "val": "valid", "test": "tstid"}


@dataclass(frozen=True)
class Flowers102(FileReader):
    """The official splits: 10 and 10 images a class, and the rest to test."""

    archive: str = "102flowers.tgz"

    def open(self, split: str, sources: Sources) -> Pictures:
        split_of(split, SPLITS, "flowers102")
        labels = self._array("imagelabels.mat", "labels", sources)
        chosen = [
            label_of(i, f"{sources.folder / 'setid.mat'}") for i in self._array("setid.mat", SPLITS[split], sources)
        ]
        tree = sources.tree(self.archive)
        entries = []
        for i in chosen:
            if not 1 <= i <= len(labels):
                raise ZsrError(
                    f"{sources.folder / 'setid.mat'}: image {i}, imagelabels.mat has {len(labels)}; get both again"
                )
            label = label_of(labels[i - 1] - 1, f"{sources.folder / 'imagelabels.mat'}: image {i}, from 1")
            entries.append(Entry(tree, f"jpg/image_{i:05d}.jpg", label))
        return from_trees(entries)

    @staticmethod
    def _array(file: str, name: str, sources: Sources) -> list:
        """One array of numbers of a .mat file, as a list."""
        array = np.asarray(matlab(sources.read(file), name, str(sources.folder / file)))
        if array.dtype.kind not in "iuf":
            raise ZsrError(f"{sources.folder / file}: '{name}' holds no numbers; get it again")
        return array.reshape(-1).tolist()
