"""A folder of class folders, in an archive or unpacked: EuroSAT, Caltech-256, SUN397, or a set of yours."""

import csv
import io
from dataclasses import dataclass

from zsr.data.archives import Tree, open_tree
from zsr.data.file_reader import FileReader
from zsr.data.lists import json_lines, text_of
from zsr.data.pictures import Entry, Pictures, caption_of, from_trees
from zsr.data.sources import Sources
from zsr.errors import ZsrError
from zsr.storage.unreadable import reading

PICTURES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")
TABLES = ("metadata.csv", "metadata.jsonl")  # as Hugging Face's image folders have them


@dataclass(frozen=True)
class Folder(FileReader):
    """Labels follow the dataset's `keys`, the sorted names of the class folders without them, if none is missing.

    Other files than pictures (by name) are passed over: such archives hold lists, thumbnails and leftovers. `caption`
    names a column of metadata.csv or metadata.jsonl beside the class folders, whose `file_name` is the path from there.
    """

    archive: str = ""  # the file that holds the folders; empty: the dataset's folder itself
    inside: str = "{split}"  # where in it the class folders lie
    nested: bool = False  # classes are paths of any depth, as `a/apse/indoor` of SUN397
    numbered: bool = False  # folders are called 0, 1, 2 …, the places of the classes
    caption: str = ""  # where captions stand; empty: there are none

    def open(self, split: str, sources: Sources) -> Pictures:
        tree = sources.tree(self.archive) if self.archive else _own(sources)
        inside = self.inside.replace("{split}", split).strip("/")
        entries = self.entries(tree, inside, sources)
        return from_trees(entries, self._captions(tree, inside, entries) if self.caption else None)

    def _captions(self, tree: Tree, inside: str, entries: list[Entry]) -> list[str]:
        """One caption a picture, in the order of the entries."""
        prefix = f"{inside}/" if inside else ""
        table = next((name for name in TABLES if f"{prefix}{name}" in tree.names), None)
        if table is None:
            raise ZsrError(f"{tree.path}: no {prefix}{' or '.join(TABLES)} with captions")
        where = f"{tree.path}: {prefix}{table}"
        read = _csv if table.endswith("csv") else json_lines
        rows = read(tree.read(f"{prefix}{table}"), where)
        for column in ("file_name", self.caption):
            if not any(column in row for row in rows):
                has = ", ".join(map(str, rows[0] if rows else ())) or "none"
                raise ZsrError(
                    f"{where}: no column '{column}', it has {has}; correct the table, or `caption` of `options`"
                )
        told: dict[str, object] = {}
        for row in rows:
            name, caption = prefix + str(row.get("file_name")), row.get(self.caption)
            if told.setdefault(name, caption) != caption:
                raise ZsrError(f"{where}: '{row['file_name']}' has two captions in two rows; leave one out")
        return [
            caption_of(told.get(entry.name), f"{where}, column '{self.caption}': {entry.name}") for entry in entries
        ]

    def entries(self, tree: Tree, inside: str, sources: Sources) -> list[Entry]:
        """All pictures, by class and name."""
        by_class: dict[str, list[str]] = {}
        prefix = f"{inside}/" if inside else ""
        for name in tree.names:
            if name.startswith(prefix) and name.lower().endswith(PICTURES):
                parts = name[len(prefix) :].split("/")
                if len(parts) == 2 or (self.nested and len(parts) > 2):
                    by_class.setdefault("/".join(parts[:-1]), []).append(name)
        if not by_class:
            raise ZsrError(f"{tree.path}: no folders of pictures under '{inside or '.'}'")
        numbers = [str(i) for i in range(len(by_class))]
        order = numbers if self.numbered else sources.order(by_class, f"{tree.path}: '{inside or '.'}'")
        lacking = sorted(set(order) - set(by_class))
        if lacking:
            raise ZsrError(
                f"{tree.path}: no folder '{prefix}{lacking[0]}' with pictures ({len(lacking)} classes lack theirs)"
            )
        return [Entry(tree, name, label) for label, key in enumerate(order) for name in sorted(by_class[key])]


def _own(sources: Sources) -> Tree:
    if not sources.folder.is_dir():
        raise ZsrError(f"{sources.folder}: no such folder; {sources.missing or 'place the class folders there'}")
    return open_tree(sources.folder)


def _csv(content: bytes, where: str) -> list[dict]:
    """The rows of a table with a head."""
    text = text_of(content, where)
    with reading(where, "a table of CSV", content=content):
        return list(csv.DictReader(io.StringIO(text), strict=True))
