"""A split as a reader of files gives it: labels, and pictures that are still encoded, in the order of the archive."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from zsr.data.archives import Tree
from zsr.data.labels import labels_of
from zsr.errors import ZsrError


class Item(NamedTuple):
    """One picture: its row in the split, its name in messages, and its bytes (or pixels [H, W, 3])."""

    row: int
    name: str
    content: bytes | np.ndarray


@dataclass(frozen=True)
class Pictures:
    """A split: labels by row, a way to get the pictures of some rows, in any order, and captions where it has them."""

    labels: np.ndarray  # [n] int64
    fetch: Callable[[np.ndarray], Iterator[Item]]  # rows, ascending -> those items
    captions: list[str] | None = None  # [n]; alternatives of one picture are separated by ' | '
    listing: str = ""  # digest of the pictures' names in order, where they have names

    def within(self, first: int, last: int) -> "Pictures":
        """Only the classes first … last − 1, renamed to begin with 0: one half of base-to-new."""
        kept = np.flatnonzero((self.labels >= first) & (self.labels < last))

        def fetch(rows: np.ndarray) -> Iterator[Item]:
            row_here = {int(kept[row]): int(row) for row in rows}
            for item in self.fetch(kept[rows]):
                yield item._replace(row=row_here[item.row])

        captions = None if self.captions is None else [self.captions[row] for row in kept]
        return Pictures(self.labels[kept] - first, fetch, captions, self.listing)


class Entry(NamedTuple):
    """One line of a listing."""

    tree: Tree
    name: str
    label: int


def from_trees(entries: Iterable[Entry], captions: list[str] | None = None) -> Pictures:
    """Pictures that lie as files in archives or folders."""
    entries = list(entries)

    def fetch(rows: np.ndarray) -> Iterator[Item]:
        wanted: dict[Tree, dict[str, list[int]]] = {}
        for row in rows:
            entry = entries[row]
            wanted.setdefault(entry.tree, {}).setdefault(entry.name, []).append(int(row))
        for tree, names in wanted.items():
            lacking = set(names)
            for name, content in tree.stream(list(names)):
                lacking.discard(name)
                for row in names[name]:
                    yield Item(row, f"{tree.path}: {name}", content)
            if lacking:
                raise ZsrError(
                    f"{tree.path}: holds no '{min(lacking)}', which its list names; {len(lacking)} lack, get it again"
                )

    labels = labels_of([entry.label for entry in entries], lambda row: f"{entries[row].tree.path}: {entries[row].name}")
    listing = hashlib.sha256("\n".join(entry.name for entry in entries).encode(errors="surrogateescape")).hexdigest()
    return Pictures(labels, fetch, captions, listing)


def from_arrays(images: np.ndarray, labels: np.ndarray, name: str) -> Pictures:
    """Pictures that lie decoded in an array [n, H, W, 3]; `name` is the file's."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not all(images.shape[1:]):
        raise ZsrError(f"{name}: images of {images.dtype} {list(images.shape)}; uint8 [n, H, W, 3] is wanted")
    if len(images) != len(labels):
        raise ZsrError(f"{name}: {len(images)} images and {len(labels)} labels; get it again")

    def fetch(rows: np.ndarray) -> Iterator[Item]:
        for row in rows:
            yield Item(int(row), f"{name} [{row}]", np.ascontiguousarray(images[row]))

    return Pictures(labels_of(labels, lambda row: f"{name} [{row}]"), fetch)


def caption_of(value: object, where: str) -> str:
    """One caption, or a list of alternatives as one text; every image needs one."""
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        value = " | ".join(one.strip() for one in value)
    if value is not None and not isinstance(value, str):
        raise ZsrError(f"{where}: the caption is {value!r:.60}; write a text, or a list of texts")
    if not value or not value.strip():
        raise ZsrError(f"{where}: has no caption; add one, or leave the picture out")
    return " ".join(value.split())


def check_labels(pictures: Pictures, classes: int, where: str) -> None:
    """Refuse labels without a class name; the first such picture is named."""
    wrong = np.flatnonzero((pictures.labels < 0) | (pictures.labels >= classes))
    if len(wrong):
        name = next((item.name for item in pictures.fetch(wrong[:1])), "no name")
        raise ZsrError(
            f"{where}: the label of image {wrong[0]} is {pictures.labels[wrong[0]]}, but there are {classes} classes "
            f"({name}); correct `classes` of the dataset's definition"
        )


def split_of(split: str, known: Iterable[str], reader: str) -> str:
    """The name of a split, refused where the reader does not know it."""
    known = tuple(known)
    if split not in known:
        raise ZsrError(f"reader '{reader}' has no split '{split}'; it has {', '.join(known)}")
    return split
