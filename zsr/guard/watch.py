"""Notes which files of the project this process imports and opens, and refuses those outside its fingerprint."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from zsr.errors import ZsrError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
PREFIXES = [spelling for prefix in (sys.prefix, sys.base_prefix) for spelling in (prefix, os.path.realpath(prefix))]
ELSEWHERE = tuple(  # a checkout may lie in /usr/src
    os.path.join(prefix, "")
    for prefix in (*PREFIXES, "/proc", "/sys", "/dev")
    if not ROOT.startswith(os.path.join(os.path.realpath(prefix), ""))
)


class Watch:
    """What this process has imported and opened of the project, by path relative to the checkout."""

    def __init__(self) -> None:
        self.used: dict[str, set[bytes]] = {}  # file -> the contents that were seen of it
        self.imported: set[str] = set()
        self.asking: set[str] = set()  # imported files that mention the environment, as stack frames name them
        self.allowed: frozenset[str] | None = None  # the fingerprint's files, once the spec is known
        self.own: set[str] = set()  # files and folders of the user: specs hold their digests, or what they say
        self.faults: list[str] = []  # mistakes before `check`, which raises the first
        self.on = False
        self.quiet = threading.local()

    def imports(self, path: str, data: bytes) -> None:
        """Note a module; refuse one that the fingerprint does not count."""
        if b"environ" in data or b"getenv" in data:
            self.asking.add(path)
        if (name := of_project(path)) is not None:
            self.imported.add(name)
            self._note(name, data)

    def opens(self, path: object, mode: object, flags: int) -> None:
        """Note a file that is opened for reading."""
        if not isinstance(path, (str, bytes, os.PathLike)) or flags & os.O_WRONLY:
            return
        name = of_project(os.fsdecode(path))
        if name is None or self._is_own(name):
            return
        with unwatched():
            try:
                with open(os.path.join(ROOT, name), "rb") as file:
                    data = file.read()
            except OSError:
                return  # the caller gets the same error
        self._note(name, data)

    def _note(self, name: str, data: bytes) -> None:
        self.used.setdefault(name, set()).add(data)
        if self.on and self.allowed is not None and name not in self.allowed:
            raise self._outside(name)

    def _outside(self, name: str) -> ZsrError:
        """One line with the cure."""
        if name in self.imported:
            how, cure = "imports", "import it by its literal name"
        else:
            how, cure = "reads", "name it in `reads = (…)` of the module that reads it"
        return ZsrError(
            f"{name}: this job {how} it, and the fingerprint of its code does not count it, so a change of it would "
            f"not make the result again; {cure} (docs/reruns.md)"
        )

    def _is_own(self, name: str) -> bool:
        return any(name == path or name.startswith(f"{path}/") for path in self.own)

    def check(self, files: dict[str, str]) -> None:
        """From here on only these files may be used; raise if others have been."""
        if self.faults:
            raise ZsrError(self.faults[0])
        self.allowed = frozenset(files)
        for name in self.used:
            if name not in self.allowed and not self._is_own(name):
                raise self._outside(name)


WATCH = Watch()


def of_project(path: str) -> str | None:
    """The path relative to the checkout; None for what lies elsewhere, is hidden, installed or compiled."""
    for spelling in (os.path.abspath, os.path.realpath):  # a link in the checkout counts under its own name
        spelled = spelling(path)
        if spelled.startswith(ELSEWHERE):
            return None
        if spelled.startswith(ROOT + os.sep):
            name = spelled[len(ROOT) + 1 :]
            parts = name.split(os.sep)
            hidden = parts[0].startswith(".") or parts[0].endswith(".egg-info") or "__pycache__" in parts
            return None if hidden else name
    return None


@contextmanager
def unwatched() -> Iterator[None]:
    """Do not watch what this thread reads for no result: planning again, fingerprints, advice for messages."""
    before = getattr(WATCH.quiet, "on", False)
    WATCH.quiet.on = True
    try:
        yield
    finally:
        WATCH.quiet.on = before


def is_unwatched() -> bool:
    """Whether this thread is inside `unwatched`."""
    return getattr(WATCH.quiet, "on", False)


def own(*paths: str | os.PathLike) -> None:
    """Let a job read files and folders of the user: specs, digests and records hold what is in them."""
    for path in paths:
        for spelled in (os.path.abspath(path), os.path.realpath(path)):
            if spelled.startswith(ROOT + os.sep):
                WATCH.own.add(spelled[len(ROOT) + 1 :])
