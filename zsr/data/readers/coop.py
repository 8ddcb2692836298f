"""Few-shot splits of CoOp (Zhou et al. 2022): split_zhou_<Dataset>.json, lists of [path, label, name]."""

from dataclasses import dataclass

from zsr.data.archives import Tree
from zsr.data.file_reader import FileReader
from zsr.data.labels import label_of
from zsr.data.lists import json_of
from zsr.data.pictures import Entry, Pictures, from_trees, split_of
from zsr.data.readers.caltech101 import inner_tree
from zsr.data.sources import Sources
from zsr.errors import ZsrError


@dataclass(frozen=True)
class Coop(FileReader):
    """The images are those of the full set, in its archives. Few shots are drawn from `train` by the training."""

    archives: tuple = ()
    images: str = ""  # the folder in the archives that paths of the split begin in
    split_file: str = ""

    def open(self, split: str, sources: Sources) -> Pictures:
        split_of(split, ("train", "val", "test"), "coop")
        rows = self._rows(split, sources)
        self._check_names(rows, sources)
        trees = [self._tree(sources, archive) for archive in self.archives if self._needed(archive, rows)]
        entries = []
        for path, label, _ in rows:
            name = f"{self.images}/{path}" if self.images else path
            tree = next((tree for tree in trees if name in tree.names), None)
            if tree is None:
                raise ZsrError(
                    f"{sources.folder}: the image '{name}' of {self.split_file} is in none of "
                    f"{', '.join(self.archives)}; get them again"
                )
            entries.append(Entry(tree, name, label))
        return from_trees(entries)

    def _rows(self, split: str, sources: Sources) -> list[tuple[str, int, str]]:
        """(path, label, name) of each image."""
        where = f"{sources.folder / self.split_file}"
        listed = json_of(sources.read(self.split_file), where)
        listed = listed.get(split) if isinstance(listed, dict) else None
        if not isinstance(listed, list):
            raise ZsrError(f"{where}: not a split of CoOp, it has no list '{split}'; get it again")
        for number, row in enumerate(listed):
            if not isinstance(row, list) or [type(value) for value in row[::2]] != [str, str] or len(row) != 3:
                raise ZsrError(f"{where}: {split}[{number}] is not [path, label, name]; get it again")
        return [
            (path.lstrip("/"), label_of(label, f"{where}: {split}[{number}]"), name)
            for number, (path, label, name) in enumerate(listed)
        ]

    @staticmethod
    def _tree(sources: Sources, archive: str) -> Tree:
        return inner_tree(sources, archive) if archive == "caltech-101.zip" else sources.tree(archive)

    def _needed(self, archive: str, rows: list[tuple[str, int, str]]) -> bool:
        """Of several archives, those whose folder the split names."""
        top = archive.split(".")[0]
        return len(self.archives) == 1 or any(path.startswith(f"{top}/") for path, _, _ in rows)

    def _check_names(self, rows: list[tuple[str, int, str]], sources: Sources) -> None:
        """Label i of the file must mean class i of the definition; names differ in spelling, an order does in all."""
        said = {label: _plain(name) for _, label, name in rows}
        spellings = [[_plain(name) for name in names] for names in (sources.keys, *sources.names)]
        known = next((names for names in spellings if set(names) & set(said.values())), [])
        shared = set(known) & set(said.values())
        wrong = [label for label, name in said.items() if name in shared and known[label : label + 1] != [name]]
        if wrong:
            raise ZsrError(
                f"{sources.folder / self.split_file}: label {wrong[0]} is '{said[wrong[0]]}' there, the dataset's "
                "definition has another class at that place"
            )


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
