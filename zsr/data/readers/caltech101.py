"""Caltech-101: a zip with a tar.gz of class folders in it; BACKGROUND_Google is no class."""

import io
from dataclasses import dataclass

from zsr.data.archives import Tar, Tree
from zsr.data.file_reader import FileReader
from zsr.data.pictures import Pictures, from_trees, split_of
from zsr.data.readers.folder import Folder
from zsr.data.sources import Sources

TOP = "101_ObjectCategories"


@dataclass(frozen=True)
class Caltech101(FileReader):
    """All images are `test`: there is no official split."""

    archive: str = "caltech-101.zip"

    def open(self, split: str, sources: Sources) -> Pictures:
        split_of(split, ("test",), "caltech101")
        return from_trees(Folder().entries(inner_tree(sources, self.archive), TOP, sources))


def inner_tree(sources: Sources, archive: str) -> Tree:
    """The class folders: of the tar in the zip (130 MB in memory), or unpacked."""
    tree = sources.tree(archive)
    if sources.present(archive) == "unpacked":
        return tree
    inner = Tar(tree.path, io.BytesIO(tree.read(f"caltech-101/{TOP}.tar.gz")))
    return inner
