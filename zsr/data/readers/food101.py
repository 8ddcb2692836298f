"""Food-101: meta/train.json and meta/test.json name the images of each dish."""

from dataclasses import dataclass

from zsr.data.file_reader import FileReader
from zsr.data.lists import json_of
from zsr.data.pictures import Entry, Pictures, from_trees, split_of
from zsr.data.sources import Sources
from zsr.errors import ZsrError


@dataclass(frozen=True)
class Food101(FileReader):
    """Labels follow the sorted names of the dishes, the dataset's `keys`."""

    archive: str = "food-101.tar.gz"
    top: str = "food-101"

    def open(self, split: str, sources: Sources) -> Pictures:
        split_of(split, ("train", "test"), "food101")
        tree = sources.tree(self.archive)
        where = f"{tree.path}: {self.top}/meta/{split}.json"
        listed = json_of(tree.read(f"{self.top}/meta/{split}.json"), where)
        for key in sources.keys:
            if not isinstance(listed, dict) or not isinstance(listed.get(key), list):
                raise ZsrError(f"{where}: has no list of the images of '{key}'; get it again")
        names = [(f"{self.top}/images/{name}.jpg", i) for i, key in enumerate(sources.keys) for name in listed[key]]
        return from_trees(Entry(tree, name, label) for name, label in names)
