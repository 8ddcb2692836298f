"""Oxford 102 Flowers: imagelabels.mat has the class of each image from 1, setid.mat the images of each split."""

import io
from dataclasses import dataclass

from zsr.data.pictures import Entry, FileReader, Pictures, from_trees, split_of
from zsr.data.sources import Sources

SPLITS = {"train": "trnid", "val": "valid", "test": "tstid"}


@dataclass(frozen=True)
class Flowers102(FileReader):
    """The official splits: 10 and 10 images a class, and the rest to test."""

    archive: str = "102flowers.tgz"

    def open(self, split: str, sources: Sources) -> Pictures:
        from scipy.io import loadmat

        split_of(split, SPLITS, "flowers102")
        labels = loadmat(io.BytesIO(sources.read("imagelabels.mat")), squeeze_me=True)["labels"]
        chosen = loadmat(io.BytesIO(sources.read("setid.mat")), squeeze_me=True)[SPLITS[split]].reshape(-1)
        tree = sources.tree(self.archive)
        return from_trees(Entry(tree, f"jpg/image_{i:05d}.jpg", int(labels[i - 1]) - 1) for i in chosen.tolist())
