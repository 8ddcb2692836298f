"""Finds the files of a dataset below the data root: archives, or what they unpack to; each is checked before use.

`ZSR_DATA` is the data root and `ZSR_DOWNLOAD` says whether missing archives may be fetched; the workflow sets both
from the config (`data_root`, `download`). Neither is part of a spec, since the place of a file does not change its
bytes. Each archive is compared with its official checksum. An archive without one is trusted when it is first read: its
digest is written beside it, and a file with another digest is refused later.
"""

import glob
import hashlib
import json
import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from zsr.data import download
from zsr.data.archives import Folder, Tree, open_tree
from zsr.data.set_files import names_of, set_file
from zsr.env_paths import expand
from zsr.errors import ZsrError
from zsr.guard.watch import own, unwatched
from zsr.storage.records import write_json

CHUNK = 1 << 22


def data_root(configured: str = "datasets") -> Path:
    """The folder below which each dataset has its own; a job has no config, and is told by the variable."""
    told = os.environ.get("ZSR_DATA") or configured
    return Path(os.path.expandvars(told)).expanduser()


def tell_jobs(configured: str, fetch: bool) -> None:
    """Put what the config says of both into the environment, which jobs inherit; a data root set there stays."""
    os.environ.setdefault("ZSR_DATA", configured)
    if fetch:
        os.environ["ZSR_DOWNLOAD"] = "1"


class Sources:
    """The files of one dataset."""

    def __init__(
        self,
        folder: str,
        files: list[dict],
        keys: list[str],
        missing: str = "",
        classes: int = 0,
        names: Iterable[list[str]] = (),
    ) -> None:
        self.folder = data_root() / folder
        own(self.folder)
        self.files = {entry["path"]: entry for entry in files}
        self.keys = keys
        self.names = list(names)  # what the set's file calls the classes, for a reader to compare
        self.missing = missing
        self.classes = classes  # 0: the dataset has captions alone
        self.used: dict[str, str] = {}  # path -> sha256, or `unpacked`
        self.states: dict[str, list[int]] = {}  # path -> size and time of the file that was read
        self._trees: dict[str, Tree] = {}
        self._new: list[Path] = []  # files without an official checksum that no earlier job has read

    @classmethod
    def of(cls, source: dict) -> "Sources":
        """From a job's spec, which leaves out what changes no byte: links and advice, which the set's file has."""
        with unwatched():
            about = set_file(source["set"]) if source.get("set") else {}
        links = {entry["path"]: entry.get("urls", []) for entry in about.get("files", [])}
        files = [{"urls": links.get(entry["path"], []), **entry} for entry in source["files"]]
        missing = about.get("missing") or source["missing"]
        return cls(source["folder"], files, source["keys"], missing, source["classes"], names_of(about))

    def tree(self, path: str) -> Tree:
        """The archive `path`, or the folder that it was unpacked into: both have the same names inside."""
        if path not in self._trees:
            target = self.folder / path
            if self.present(path) == "unpacked":
                self.used[path] = "unpacked"
                self._trees[path] = Unpacked(self.folder, self.files[path]["unpacked"])
            else:
                folder = target.is_dir() and path not in self.files  # a folder of yours has no digest
                self._trees[path] = open_tree(target if folder else self.file(path))
        return self._trees[path]

    def file(self, path: str, name: str = "") -> Path:
        """One file as it is, fetched if it is not there and the config allows it, and checked.

        `name`: how the record calls it, where the path has this machine's variables in it.
        """
        entry = self.files.get(path, {"path": path})
        target = self.folder / path
        if not target.is_file():
            if not os.environ.get("ZSR_DOWNLOAD") or not entry.get("urls"):
                raise ZsrError(self.lacking(path))
            download.fetch(entry["urls"], target, entry.get("bytes"), lambda file: verify(file, entry))
        own(target, note_of(target))
        if not note_of(target).exists() and not (entry.get("md5") or entry.get("sha256")):
            self._new.append(target)
        self.states[name or path] = state_of(target)
        self.used[name or path] = verify(target, entry)
        return target

    def distrust(self) -> None:
        """Remove the digests noted in this job: a file that could not be read is no reference for later ones."""
        for file in self._new:
            note_of(file).unlink(missing_ok=True)

    def matching(self, pattern: str, otherwise: str) -> list[Path]:
        """The files that a pattern with `$VARIABLES` and `*` names, in order, checked; none is a mistake."""
        text = expand(pattern)
        paths = sorted(glob.glob(text, root_dir=self.folder))
        if not paths:
            raise ZsrError(f"{self.folder / text}: {otherwise}; {self.missing or 'place it there'}")
        plain = Path(pattern).parent  # the record keeps the variables, and not where they lead
        return [self.file(path, path if "*" in str(plain) else str(plain / Path(path).name)) for path in paths]

    def order(self, names_seen: Iterable[str], where: str) -> list[str]:
        """What the source calls its classes, in the order of their labels: the `keys`, else the sorted names."""
        if self.keys:
            return self.keys
        names = sorted(set(names_seen))
        if self.classes and len(names) != self.classes:  # one more or less, and every later label means another class
            shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
            raise ZsrError(
                f"{where}: {len(names)} classes ({shown}), the dataset's definition has {self.classes}; name each "
                "class as the source does in `keys`"
            )
        return names

    def read(self, path: str) -> bytes:
        """A small file beside the archives."""
        return self.file(path).read_bytes()

    def present(self, path: str) -> str | None:
        """`file`, `unpacked`, or None; nothing is opened."""
        if (self.folder / path).is_file():
            return "file"
        parts = self.files.get(path, {}).get("unpacked", [])
        return "unpacked" if parts and all((self.folder / part).exists() for part in parts) else None

    def lacking(self, path: str) -> str:
        """What to do about a missing file."""
        entry = self.files.get(path, {})
        text = f"{self.folder / path}: missing; "
        if self.missing:
            return text + self.missing.strip()
        if entry.get("urls"):
            return text + f"write `download: true` in the config, or place it there yourself from {entry['urls'][0]}"
        return text + "place it there"


class Unpacked(Folder):
    """Some folders and files of a folder, under the names that the archive gave them."""

    def __init__(self, path: Path, parts: Iterable[str]) -> None:
        super().__init__(path)
        self.parts = tuple(parts)

    @cached_property
    def names(self) -> frozenset[str]:
        names: set[str] = set()
        for part in self.parts:
            inner = self.path / part
            names |= {f"{part}/{name}" for name in Folder(inner).names} if inner.is_dir() else {part}
        return frozenset(names)


def state_of(path: Path) -> list[int]:
    """Size and time of a file: while both stay, its content is taken to be the same."""
    state = path.stat()
    return [state.st_size, state.st_mtime_ns]


def note_of(path: Path) -> Path:
    """The file that notes the digest of a file."""
    return path.with_name(f".{path.name}.checked.json")


def known_digest(path: Path) -> str:
    """The sha256 of a file, from its note where size and time still agree."""
    seen = _noted(note_of(path))
    return seen["sha256"] if _is_of(seen, path) else digests(path)["sha256"]


def verify(path: Path, entry: dict, deep: bool = False) -> str:
    """Check size and checksum of a file; returns its sha256, from its note where it was checked before."""
    size, time = state_of(path)
    note = note_of(path)
    seen = _noted(note)
    if (
        _is_of(seen, path)
        and not deep
        and all(seen.get(kind) == entry[kind] for kind in ("md5", "sha256") if entry.get(kind))
    ):
        return seen["sha256"]
    if entry.get("bytes") and size != entry["bytes"]:
        what = "cut short" if size < entry["bytes"] else "too long"
        raise ZsrError(f"{path}: {what}, {size} bytes of {entry['bytes']}; remove it and get it again")
    measured = digests(path)
    for kind in ("sha256", "md5"):
        if entry.get(kind) and measured[kind] != entry[kind]:
            raise ZsrError(
                f"{path}: wrong {kind} {measured[kind]}, the official one is {entry[kind]}; remove it and get it again"
            )
    known = entry.get("md5") or entry.get("sha256")
    if not known and seen and seen["sha256"] != measured["sha256"]:
        raise ZsrError(
            f"{path}: another file than the one that was used before (sha256 {measured['sha256']}, then "
            f"{seen['sha256']}); if that is meant, remove {note}"
        )
    if os.access(path.parent, os.W_OK):
        write_json(note, {**measured, "size": size, "mtime_ns": time})
    return measured["sha256"]


def _is_of(seen: dict, path: Path) -> bool:
    """Whether a note is of the file as it lies there."""
    return [seen.get("size"), seen.get("mtime_ns")] == state_of(path)


def _noted(note: Path) -> dict:
    try:
        return json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # not checked yet, or the note is damaged: the file itself is read again


def digests(path: Path) -> dict[str, str]:
    """md5 and sha256 in one reading."""
    both = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            for state in both:
                state.update(chunk)
    return {"md5": both[0].hexdigest(), "sha256": both[1].hexdigest()}
