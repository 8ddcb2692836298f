"""TinyImageNet: 200 classes of 64×64. `train` lies in folders, `test` is the official val part with its list."""

from dataclasses import dataclass

from zsr.data.archives import Tree
from zsr.data.file_reader import FileReader
from zsr.data.labels import label_of_name
from zsr.data.lists import rows_of
from zsr.data.pictures import Entry, Pictures, from_trees, split_of
from zsr.data.sources import Sources


@dataclass(frozen=True)
class TinyImagenet(FileReader):
    """Labels follow the sorted WordNet ids (the dataset's `keys`); wnids.txt has another order."""

    archive: str = "tiny-imagenet-200.zip"
    top: str = "tiny-imagenet-200"

    def open(self, split: str, sources: Sources) -> Pictures:
        split_of(split, ("train", "test"), "tiny-imagenet")
        tree = sources.tree(self.archive)
        label = {key: i for i, key in enumerate(sources.keys)}
        pairs = self._train(tree.names) if split == "train" else self._test(tree)
        return from_trees(
            Entry(tree, name, label_of_name(label, key, f"{tree.path}: {name}")) for name, key in sorted(pairs)
        )

    def _train(self, names: frozenset[str]) -> list[tuple[str, str]]:
        """train/<wnid>/images/<wnid>_<n>.JPEG"""
        start = f"{self.top}/train/"
        return [(n, n[len(start) :].split("/")[0]) for n in names if n.startswith(start) and n.endswith(".JPEG")]

    def _test(self, tree: Tree) -> list[tuple[str, str]]:
        """val_annotations.txt: file, wnid and a box, separated by tabs."""
        listing = f"{self.top}/val/val_annotations.txt"
        rows = rows_of(tree.read(listing), 2, f"{tree.path}: {listing}", "\t")
        return [(f"{self.top}/val/images/{row[0]}", row[1]) for row in rows]
