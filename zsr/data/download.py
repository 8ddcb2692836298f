"""Downloads a file from the first mirror that answers; an interrupted download is resumed, the file is checked."""

import errno
import fcntl
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from zsr.errors import ROOM, ZsrError, system_error
from zsr.progress import Progress
from zsr.storage.unreadable import foreign_content, head_of

CHUNK = 1 << 20
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)  # not the network
TRIES = 3
WAIT = float(os.environ.get("ZSR_RETRY_SECONDS", "2"))


def fetch(urls: list[str], target: Path, size: int | None, check: Callable[[Path], object]) -> None:
    """Download one file to `target` and check it; where several jobs want it, one downloads it and the others wait."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target.with_name(f".{target.name}.lock")):
        if not target.is_file():  # another job may have fetched and checked it meanwhile
            _fetch(urls, target, size, check)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a lock; its file stays, since a removed one would not be a lock for the jobs that wait for it."""
    try:
        file = lock.open("ab")
    except OSError as error:
        raise system_error(lock, error, ROOM) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch(urls: list[str], target: Path, size: int | None, check: Callable[[Path], object]) -> None:
    """Download to `<name>.part`, check, rename. A file with a wrong checksum is kept as `<name>.bad`."""
    part = target.with_name(f"{target.name}.part")
    failures = []
    for url in urls:
        for attempt in range(TRIES):
            try:
                _get(url, part, size)
            except (OSError, HTTPException) as error:
                if getattr(error, "errno", None) in DISK:
                    raise system_error(part, error, ROOM) from error
                failures.append(f"{url}: {error}")
                if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                    break  # this mirror does not have it
                time.sleep(WAIT * attempt)
                continue
            try:
                if held := foreign_content(head_of(part)):  # where no checksum is official, nothing else would tell
                    raise ZsrError(f"{part}: {held}")
                check(part)
            except ZsrError as error:
                bad = target.with_name(f"{target.name}.bad")
                os.replace(part, bad)
                failures.append(f"{url}: {str(error).replace(str(part), str(bad))}")
                break
            finally:
                note = target.with_name(f".{part.name}.checked.json")
                note.unlink(missing_ok=True)
            os.replace(part, target)
            return
    raise ZsrError(f"{target}: could not be downloaded ({'; '.join(dict.fromkeys(failures))})")


def _get(url: str, part: Path, size: int | None) -> None:
    """One request, for the bytes that are still missing."""
    have = part.stat().st_size if part.exists() else 0
    if size and have == size:
        return
    if size and have > size:
        part.unlink()
        have = 0
    request = urllib.request.Request(url, headers={"User-Agent": "zsr"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        answer = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # the server has no more than we have: all of it, if the size is unknown
            return
        raise
    with answer:
        resumed = answer.status == 206
        length = int(answer.headers.get("Content-Length") or 0)
        total = length + (have if resumed else 0)
        progress = Progress(f"downloading {part.name.removesuffix('.part')}", total, have if resumed else 0)
        with part.open("ab" if resumed else "wb") as file:
            got = 0
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                got += len(chunk)
                progress.step(len(chunk))
    if length and got < length:
        raise OSError(f"the connection ended after {got} of {length} bytes")
