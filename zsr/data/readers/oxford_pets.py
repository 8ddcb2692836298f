"""Oxford-IIIT Pet: annotations/trainval.txt and test.txt give each image its class from 1."""

from dataclasses import dataclass

from zsr.data.file_reader import FileReader
from zsr.data.labels import label_of_text
from zsr.data.lists import rows_of
from zsr.data.pictures import Entry, Pictures, from_trees, split_of
from zsr.data.sources import Sources


@dataclass(frozen=True)
class OxfordPets(FileReader):
    """`train` is trainval."""

    images: str = "images.tar.gz"
    annotations: str = "annotations.tar.gz"

    def open(self, split: str, sources: Sources) -> Pictures:
        part = {"train": "trainval", "test": "test"}[split_of(split, ("train", "test"), "oxford-pets")]
        annotations, listing = sources.tree(self.annotations), f"annotations/{part}.txt"
        where = f"{annotations.path}: {listing}"
        rows = rows_of(annotations.read(listing), 2, where, comment="#")
        tree = sources.tree(self.images)
        return from_trees(
            Entry(tree, f"images/{name}.jpg", label_of_text(number, f"{where}: {name}") - 1)
            for name, number, *_ in rows
        )
