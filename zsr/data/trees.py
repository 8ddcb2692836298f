"""Files inside a folder, a zip or a tar, by name, read where they lie: nothing is unpacked, so nothing can escape.

An archive that tries to (a name with `..`, an absolute name, a link that leaves it, far more bytes than its own size)
is refused by name all the same: it is not the archive that it claims to be. A compressed tar has no index: its names
cost one pass over it, and so does `stream`, which is why images are read in the order of the archive.
"""

import lzma
import os
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import IO

from zsr.errors import ZsrError

BROKEN = (EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
RATIO = 20  # an archive of images holds about its own size; texts pack to a tenth
SLACK = 1 << 28


class Tree:
    """Base: files by name, with `/` between the parts."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def names(self) -> frozenset[str]:
        """All files, read and checked once."""
        raise NotImplementedError

    def read(self, name: str) -> bytes:
        """One file; a missing one is named."""
        for _, content in self.stream([name]):
            return content
        raise ZsrError(f"{self.path}: holds no '{name}'; it is not the archive that the dataset's definition names")

    def stream(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """The content of each of `names`, once, in whatever order is cheap."""
        raise NotImplementedError


class Folder(Tree):
    """A folder; a link in it may point anywhere inside it."""

    @cached_property
    def names(self) -> frozenset[str]:
        found = set()
        for place, folders, files in os.walk(self.path, followlinks=False):
            for name in (*files, *folders):
                path = os.path.join(place, name)
                if os.path.islink(path):
                    self._inside(path)
                    found |= self._linked(path)
                elif name in files:
                    found.add(os.path.relpath(path, self.path))
        return frozenset(found)

    def _linked(self, path: str) -> set[str]:
        if not os.path.isdir(path):
            return {os.path.relpath(path, self.path)} if os.path.exists(path) else set()
        inner = [os.path.join(place, name) for place, _, files in os.walk(path) for name in files]
        return {os.path.relpath(file, self.path) for file in inner}

    def _inside(self, path: str) -> None:
        root = os.path.realpath(self.path)
        if os.path.commonpath([root, os.path.realpath(path)]) != root:
            raise ZsrError(f"{path}: a link that leaves its folder; replace it by a copy")

    def read(self, name: str) -> bytes:
        path = self.path / name
        if not path.is_file():
            raise ZsrError(f"{path}: missing; unpack the archive of this dataset again")
        self._inside(str(path))
        return path.read_bytes()

    def stream(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for name in names:
            yield name, self.read(name)


class Zip(Tree):
    """A zip has an index: any file at once."""

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except BROKEN as error:
            raise broken(self.path, error) from error

    @cached_property
    def names(self) -> frozenset[str]:
        guard = Guard(self.path)
        for entry in self._archive.infolist():
            guard.name(entry.filename)
            guard.size(entry.file_size)
            if stat.S_ISLNK(entry.external_attr >> 16):
                guard.link(entry.filename, self._archive.read(entry).decode(errors="replace"))
        return frozenset(entry.filename for entry in self._archive.infolist() if not entry.is_dir())

    def stream(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        known = self.names
        for name in names:
            if name in known:
                try:
                    yield name, self._archive.read(name)
                except BROKEN as error:
                    raise broken(self.path, error, name) from error


class Tar(Tree):
    """A tar, plain or compressed (also one that lies in memory or in another archive), read from front to back."""

    def __init__(self, path: Path, file: IO[bytes] | None = None) -> None:
        super().__init__(path)
        self._file = file

    def members(self) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
        try:
            if self._file is not None:
                self._file.seek(0)
            with tarfile.open(self.path, "r:*", fileobj=self._file) as archive:
                while member := archive.next():
                    archive.members = []  # it would keep every member: 1 GB for ImageNet
                    yield archive, member
        except BROKEN as error:
            raise broken(self.path, error) from error

    @cached_property
    def names(self) -> frozenset[str]:
        guard = Guard(self.path)
        found = set()
        for _, member in self.members():
            guard.name(member.name)
            guard.size(member.size)
            if member.issym() or member.islnk():
                inside = posixpath.dirname(member.name) if member.issym() else ""
                guard.link(member.name, member.linkname, inside)
            elif member.isfile():
                found.add(posixpath.normpath(member.name))
        return frozenset(found)

    def stream(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        wanted = set(names)
        known = wanted & self.names
        for archive, member in self.members():
            name = posixpath.normpath(member.name)
            if member.isfile() and name in known:
                known.discard(name)
                yield name, archive.extractfile(member).read()
            if not known:
                return


class Guard:
    """What no honest archive contains."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = 0
        self.limit = RATIO * path.stat().st_size + SLACK if path.exists() else 1 << 40

    def name(self, name: str) -> None:
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or name[1:2] == ":":
            raise ZsrError(f"{self.path}: holds the name '{name}', which leaves its folder; the archive is not trusted")

    def link(self, name: str, target: str, inside: str | None = None) -> None:
        place = posixpath.normpath(posixpath.join(posixpath.dirname(name) if inside is None else inside, target))
        if target.startswith("/") or place.startswith(".."):
            raise ZsrError(f"{self.path}: '{name}' is a link to '{target}', outside; the archive is not trusted")

    def size(self, count: int) -> None:
        self.bytes += count
        if self.bytes > self.limit:
            raise ZsrError(
                f"{self.path}: unpacks to more than {self.limit >> 20} MiB, {RATIO} times its size; "
                "the archive is not trusted"
            )


def broken(path: Path, error: Exception, name: str = "") -> ZsrError:
    """The one line for an archive that ends early or is damaged."""
    what = f" at '{name}'" if name else ""
    return ZsrError(f"{path}: damaged or cut short{what} ({error}); remove it and get it again")


def open_tree(path: Path) -> Tree:
    """The tree of a folder or an archive, by its kind."""
    if path.is_dir():
        return Folder(path)
    return Zip(path) if path.name.endswith(".zip") else Tar(path)
