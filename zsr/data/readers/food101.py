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
        entries = []
        for label, key in enumerate(sources.keys):
            names = listed.get(key) if isinstance(listed, dict) else None
            if not isinstance(names, list):
                raise ZsrError(f"{where}: has no list of the images of '{key}'; get it again")
            entries += [Entry(tree, f"{self.top}/images/{name}.jpg", label) for name in names]
        return from_trees(entries)
