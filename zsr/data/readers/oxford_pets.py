"""Oxford-IIIT Pet: annotations/trainval.txt and test.txt give each image its class from 1."""

from dataclasses import dataclass

from zsr.data.pictures import Entry, FileReader, Pictures, from_trees, split_of
from zsr.data.sources import Sources


@dataclass(frozen=True)
class OxfordPets(FileReader):
    """`train` is trainval."""

    images: str = "images.tar.gz"
    annotations: str = "annotations.tar.gz"

    def open(self, split: str, sources: Sources) -> Pictures:
        part = {"train": "trainval", "test": "test"}[split_of(split, ("train", "test"), "oxford-pets")]
        listed = sources.tree(self.annotations).read(f"annotations/{part}.txt").decode()
        tree = sources.tree(self.images)
        rows = [line.split() for line in listed.splitlines() if line.strip() and not line.startswith("#")]
        return from_trees(Entry(tree, f"images/{row[0]}.jpg", int(row[1]) - 1) for row in rows)
