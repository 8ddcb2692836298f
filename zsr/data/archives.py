"""Reads the files of a folder, a zip or a tar by name. Nothing is unpacked, so nothing can escape.

An archive that tries to escape is refused all the same, since it is not the archive that it claims to be: a name with
`..`, an absolute name, a link that leaves it, far more bytes than its own size. A compressed tar has no index: its
names cost one pass over it, and so does `stream`, so images are read in the order of the archive.
"""

import hashlib
import os
import posixpath
import stat
import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import cached_property
from pathlib import Path
from typing import IO

from zsr.errors import ZsrError
from zsr.storage.unreadable import reading

RATIO = 20  # an archive of images holds about its own size; texts pack to a tenth
SLACK = 1 << 28


class Tree(ABC):
    """Base: files by name, with `/` between the parts."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    @abstractmethod
    def names(self) -> frozenset[str]:
        """All files, read and checked once."""

    def read(self, name: str) -> bytes:
        """One file; a missing one is named."""
        for _, content in self.stream([name]):
            return content
        raise ZsrError(f"{self.path}: holds no '{name}'; it is not the archive that the dataset's definition names")

    @abstractmethod
    def stream(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """The content of each of `names`, once, in whatever order is cheap."""

    def _unclear(self, name: str) -> ZsrError:
        return ZsrError(
            f"{self.path}: holds '{name}' twice, with other contents; make the archive again with one of them"
        )


class Folder(Tree):
    """A folder; a link in it may point anywhere inside it."""

    @cached_property
    def names(self) -> frozenset[str]:
        names: set[str] = set()
        for parent, folders, files in os.walk(self.path, followlinks=False):
            for name in (*files, *folders):
                path = os.path.join(parent, name)
                if os.path.islink(path):
                    self._inside(path)
                    names |= self._linked(path)
                elif name in files:
                    names.add(os.path.relpath(path, self.path))
        return frozenset(names)

    def _linked(self, path: str) -> set[str]:
        if not os.path.isdir(path):
            return {os.path.relpath(path, self.path)} if os.path.exists(path) else set()
        inner = [os.path.join(parent, name) for parent, _, files in os.walk(path) for name in files]
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
        with reading(self.path, "a zip"):
            return zipfile.ZipFile(self.path)

    def _content(self, entry: str | zipfile.ZipInfo) -> bytes:
        name = entry if isinstance(entry, str) else entry.filename
        with reading(f"{self.path}: {name}", "what the index of the zip says"):
            return self._archive.read(entry)

    @cached_property
    def names(self) -> frozenset[str]:
        guard = Guard(self.path)
        for entry in self._archive.infolist():
            guard.name(entry.filename)
            guard.size(entry.file_size)
            if stat.S_ISLNK(entry.external_attr >> 16):
                guard.link(entry.filename, self._content(entry).decode(errors="replace"))
        return frozenset(entry.filename for entry in self._archive.infolist() if not entry.is_dir())

    @cached_property
    def _sums(self) -> dict[str, set[tuple[int, int]]]:
        """Size and checksum of each name; more than one where a name is there twice with other contents."""
        sums: dict[str, set[tuple[int, int]]] = {}
        for entry in self._archive.infolist():
            sums.setdefault(entry.filename, set()).add((entry.file_size, entry.CRC))
        return sums

    def stream(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        known = self.names
        for name in names:
            if name in known:
                if len(self._sums[name]) > 1:
                    raise self._unclear(name)
                yield name, self._content(name)


class Tar(Tree):
    """A tar, plain or compressed (also one that lies in memory or in another archive), read from front to back."""

    def __init__(self, path: Path, file: IO[bytes] | None = None) -> None:
        super().__init__(path)
        self._file = file

    def members(self) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
        with ExitStack() as stack:
            with self._reading():
                if self._file is not None:
                    self._file.seek(0)
                archive = stack.enter_context(tarfile.open(self.path, "r:*", fileobj=self._file))
            while True:
                with self._reading():
                    member = archive.next()
                if member is None:
                    return
                archive.members = []  # type: ignore[attr-defined] # it would keep every member: 1 GB for ImageNet
                yield archive, member

    def _reading(self) -> AbstractContextManager[None]:
        """Errors of a tar. One inside another archive is not described by its first bytes, which are not at hand."""
        return reading(self.path, "a tar", content=None if self._file is None else b"-")

    def _content(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
        with self._reading():
            file = archive.extractfile(member)
            if file is None:
                raise TypeError(f"{member.name} is no file")
            return file.read()

    @cached_property
    def _once_and_twice(self) -> tuple[frozenset[str], frozenset[str]]:
        """(all names, those that are there more than once)."""
        guard = Guard(self.path)
        once: set[str] = set()
        twice: set[str] = set()
        for _, member in self.members():
            guard.name(member.name)
            guard.size(member.size)
            if member.issym() or member.islnk():
                inside = posixpath.dirname(member.name) if member.issym() else ""
                guard.link(member.name, member.linkname, inside)
            elif member.isfile():
                name = posixpath.normpath(member.name)
                (twice if name in once else once).add(name)
        return frozenset(once), frozenset(twice)

    @cached_property
    def names(self) -> frozenset[str]:
        return self._once_and_twice[0]

    def stream(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        known = set(names) & self.names
        if twice := known & self._once_and_twice[1]:
            self._check_same(twice)
        for archive, member in self.members():
            name = posixpath.normpath(member.name)
            if member.isfile() and name in known:
                known.discard(name)
                yield name, self._content(archive, member)
            if not known:
                return

    def _check_same(self, names: set[str]) -> None:
        """Refuse a name that is there twice with two contents; the same file packed again is fine."""
        seen: dict[str, str] = {}
        for archive, member in self.members():
            name = posixpath.normpath(member.name)
            if member.isfile() and name in names:
                content = hashlib.sha256(self._content(archive, member)).hexdigest()
                if seen.setdefault(name, content) != content:
                    raise self._unclear(name)


class Guard:
    """Refuses what no honest archive contains."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = 0
        self.limit = RATIO * path.stat().st_size + SLACK if path.exists() else 1 << 40

    def name(self, name: str) -> None:
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or name[1:2] == ":":
            raise ZsrError(f"{self.path}: holds the name '{name}', which leaves its folder; the archive is not trusted")

    def link(self, name: str, target: str, inside: str | None = None) -> None:
        points_to = posixpath.normpath(posixpath.join(posixpath.dirname(name) if inside is None else inside, target))
        if target.startswith("/") or points_to.startswith(".."):
            raise ZsrError(f"{self.path}: '{name}' is a link to '{target}', outside; the archive is not trusted")

    def size(self, count: int) -> None:
        self.bytes += count
        if self.bytes > self.limit:
            raise ZsrError(
                f"{self.path}: unpacks to more than {self.limit >> 20} MiB, {RATIO} times its size; "
                "the archive is not trusted"
            )


def open_tree(path: Path) -> Tree:
    """The tree of a folder or an archive, by its kind."""
    if path.is_dir():
        return Folder(path)
    return Zip(path) if path.name.endswith(".zip") else Tar(path)
