"""Lets one run at a time into a results folder, by a lock in the folder whose text names the run.

Snakemake locks its working directory, and two working directories can write the same results. The lock here is `flock`
on a file: the kernel drops it when the process ends, even by kill -9, so on one machine a lock that was left behind is
taken over. The text stays until a run ends in order. A lock that another machine left behind is refused, because a
network file system may keep the locks of each machine to itself. One that knows no `flock` leaves the process id alone
to tell whether the holder lives; two runs that start in the same instant are then not told apart.
"""

import atexit
import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from zsr.errors import ROOM, ZsrError, system_error

NAME = ".run.lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)  # a file system without `flock`
held: dict[Path, int] = {}  # lock file -> its descriptor, open until the lock is released


@dataclass(frozen=True)
class Holder:
    """Who works in a results folder."""

    host: str
    pid: int
    folder: str
    since: str

    @property
    def title(self) -> str:
        return f"process {self.pid} on {self.host}, started in {self.folder} at {self.since}"


def take(results: Path) -> None:
    """Hold the results folder until `release` or the end of this process; raise if another run holds it."""
    path = results.absolute() / NAME
    if path in held:
        return
    file = _open(path)
    try:
        locks = _locked(file)
        _refuse_other(path, _read(file), locks)
        now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        _write(file, json.dumps(asdict(Holder(socket.gethostname(), os.getpid(), os.getcwd(), now))))
    except ZsrError:
        os.close(file)
        raise
    except OSError as error:
        os.close(file)
        raise system_error(path, error, ROOM, "cannot be locked") from error
    held[path] = file


def release(results: Path) -> None:
    """Let others in. The file stays: to remove a file that others may just have opened would let two in."""
    if (file := held.pop(results.absolute() / NAME, None)) is not None:
        _write(file, "")
        os.close(file)


@contextmanager
def holding(results: Path) -> Iterator[None]:
    """Hold the results folder inside the block."""
    take(results)
    try:
        yield
    finally:
        release(results)


@atexit.register
def release_all() -> None:
    """At the end of the process, whichever way it went."""
    for path in list(held):
        release(path.parent)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise system_error(path, error, "no run can start without this lock; mend the permissions") from error


def _locked(file: int) -> bool | None:
    """Whether the lock is ours now; None where the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the latter over NFS
        return False
    except OSError as error:
        if error.errno in NO_LOCKS:
            return None
        raise
    return True


def _refuse_other(path: Path, holder: Holder | None, locked: bool | None) -> None:
    """Raise if another run holds the folder, or if nobody can know."""
    local = holder if holder is not None and holder.host == socket.gethostname() else None
    if locked is False or (locked is None and local is not None and _lives(local.pid)):
        by = holder.title if holder else "a process that has just started"
        raise ZsrError(f"{path.parent}: another run works in this folder ({by}); wait until it ends, or stop it")
    if holder is not None and local is None:
        raise ZsrError(
            f"{path.parent}: another machine's run holds this folder ({holder.title}); if that run has ended, remove "
            f"{path}"
        )


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True


def _read(file: int) -> Holder | None:
    """Who holds the lock; None if it was released, or if its holder was stopped before it had written."""
    text = os.pread(file, 10_000, 0)
    try:
        return Holder(**json.loads(text)) if text else None
    except (ValueError, TypeError):
        return None


def _write(file: int, text: str) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, text.encode(), 0)
