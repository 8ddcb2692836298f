"""Describable Textures: ten partitions; labels/<split><n>.txt name the images, their folder the class."""

from dataclasses import dataclass

from zsr.data.file_reader import FileReader
from zsr.data.labels import label_of_name
from zsr.data.lists import text_of
from zsr.data.pictures import Entry, Pictures, from_trees, split_of
from zsr.data.sources import Sources


@dataclass(frozen=True)
class Dtd(FileReader):
    """`partition` 1 … 10; papers use the first."""

    archive: str = "dtd-r1.0.1.tar.gz"
    partition: int = 1

    def open(self, split: str, sources: Sources) -> Pictures:
        split_of(split, ("train", "val", "test"), "dtd")
        tree = sources.tree(self.archive)
        listing = f"dtd/labels/{split}{self.partition}.txt"
        where = f"{tree.path}: {listing}"
        names = text_of(tree.read(listing), where).split()
        label = {key: i for i, key in enumerate(sources.keys)}
        return from_trees(
            Entry(tree, f"dtd/images/{name}", label_of_name(label, name.split("/")[0], where)) for name in names
        )
