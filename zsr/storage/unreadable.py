"""Files that are not what their names say: one line that names the file, what it holds instead, and the cure."""

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
    """What a library raises on bad bytes becomes one line; `content` are the bytes, where `place` is no file on disk.

    Every exception but a refusal of the system: a parser of foreign bytes may fail with any of them.
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
        raise unreadable(place, wanted, error, cure, content) from error


def unreadable(
    place: Path | str, wanted: str, error: object, cure: str = AGAIN, content: bytes | None = None
) -> ZsrError:
    """The line for bytes that are not `wanted`, or not the whole of it."""
    held = what(head_of(place) if content is None else content[:HEAD])
    return ZsrError(f"{place}: not {wanted}, damaged or cut short ({held or said(error)}); {cure}")


def head_of(place: Path | str) -> bytes | None:
    """The first bytes of a file; None where there is no file."""
    if not isinstance(place, Path) or not place.is_file():
        return None
    with place.open("rb") as file:
        return file.read(HEAD)


def what(head: bytes | None) -> str:
    """What the first bytes show to be no data or weights; nothing where they may be such."""
    if head is None:
        return ""
    if not head:
        return "it is empty"
    if b"<html" in head.lower() or head.lstrip().lower().startswith(b"<!doctype html"):
        return "it is a web page, as a server or a proxy sends with an error"
    if head.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, `git lfs pull` gets the file itself"
    return ""


def said(error: object) -> str:
    """What a library said, in one short line."""
    text = re.sub(r"<_io\.BytesIO object at \w+>", "from its bytes", str(error))
    return short(" ".join(text.split()), 200) or type(error).__name__
