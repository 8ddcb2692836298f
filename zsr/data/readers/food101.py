"""Food-101: meta/train.json and meta/test.json name the images of each dish."""

import json
from dataclasses import dataclass

from zsr.data.pictures import Entry, FileReader, Pictures, from_trees, split_of
from zsr.data.sources import Sources


@dataclass(frozen=True)
class Food101(FileReader):
    """Labels follow the sorted names of the dishes, the dataset's `keys`."""

    archive: str = "food-101.tar.gz"
    top: str = "food-101"

    def open(self, split: str, sources: Sources) -> Pictures:
        split_of(split, ("train", "test"), "food101")
        tree = sources.tree(self.archive)
        listed = json.loads(tree.read(f"{self.top}/meta/{split}.json"))
        names = [(f"{self.top}/images/{name}.jpg", i) for i, key in enumerate(sources.keys) for name in listed[key]]
        return from_trees(Entry(tree, name, label) for name, label in names)
