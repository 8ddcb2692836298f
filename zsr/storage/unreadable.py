"""Makes one line of what a library raises on a damaged file: the file, what it holds instead, and the cure."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zsr.errors import ZsrError, short

AGAIN = "remove it and get it again"
HEAD = 512  # bytes that tell what a file is
# What bad bytes can cause, such as a lying offset; any other refusal is the system's, as of a mount that was lost.
BYTES = (None, errno.EINVAL, errno.EOVERFLOW, errno.ENAMETOOLONG, errno.ERANGE, errno.EDOM, errno.EILSEQ)


@contextmanager
def reading(place: Path | str, wanted: str, cure: str = AGAIN, content: bytes | None = None) -> Iterator[None]:
    """Make one line of what a library raises on bad bytes; `content` are the bytes, where `place` is no file on disk.

    A parser of foreign bytes may raise anything; only a refusal of the operating system is passed on.
    """
    try:
        yield
    except ZsrError:
        raise
    except MemoryError as error:
        raise ZsrError(f"{place}: asks for more memory than there is, or is damaged; {cure}") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in BYTES:
            raise  # the disk, not the bytes: the job says which file
        raise _damaged(place, wanted, error, cure, content) from error


def _damaged(place: Path | str, wanted: str, error: Exception, cure: str, content: bytes | None) -> ZsrError:
    """The line for bytes that are not `wanted`, or not the whole of it."""
    reason = foreign_content(head_of(place) if content is None else content[:HEAD]) or _message(error)
    return ZsrError(f"{place}: not {wanted}, damaged or cut short ({reason}); {cure}")


def head_of(place: Path | str) -> bytes | None:
    """The first bytes of a file; None where there is no file."""
    if not isinstance(place, Path) or not place.is_file():
        return None
    with place.open("rb") as file:
        return file.read(HEAD)


def foreign_content(head: bytes | None) -> str:
    """What a file holds whose first bytes show that it is neither data nor weights; '' where it may be either."""
    if head is None:
        return ""
    if not head:
        return "it is empty"
    if b"<html" in head.lower() or head.lstrip().lower().startswith(b"<!doctype html"):
        return "it is a web page, as a server or a proxy sends with an error"
    if head.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, `git lfs pull` gets the file itself"
    return ""


def _message(error: Exception) -> str:
    """What a library says, in one short line."""
    text = re.sub(r"<_io\.BytesIO object at \w+>", "from its bytes", str(error))
    return short(" ".join(text.split()), 200) or type(error).__name__
