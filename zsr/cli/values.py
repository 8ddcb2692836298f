"""Values of options: what a name, a number or a place may be; a wrong one is refused before anything runs."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zsr.errors import ZsrError, short, system_reason


def name_of_file(text: str) -> Path:
    """For argparse: a path that a file can have."""
    if not text:
        raise argparse.ArgumentTypeError("the name of a file is empty")
    if "\0" in text:
        raise argparse.ArgumentTypeError("no file can have a name with a NUL byte")
    return Path(text)


def positive(text: str) -> int:
    """For argparse: a whole number above 0."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"'{short(text, 40)}' is no whole number above 0")
    return number


def check_file(option: str, path: Path) -> None:
    """Refuse a file that cannot be written."""
    with refusing(option, path):
        if path.is_dir():
            raise ZsrError(f"{option} {path}: it is a folder; name a file")
        if not path.parent.is_dir():
            raise ZsrError(f"{option} {path}: there is no folder {path.parent}; make it first")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise ZsrError(f"{option} {path}: it cannot be written; mend the permissions or name another file")


def make_folder(option: str, path: Path) -> None:
    """Make a folder to write to, unless it is there."""
    with refusing(option, path):
        if path.exists() and not path.is_dir():
            raise ZsrError(f"{option} {path}: it is a file; name a folder")
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise ZsrError(f"{option} {path}: it cannot be written; mend the permissions or name another folder")


@contextmanager
def refusing(option: str, path: Path) -> Iterator[None]:
    """Make one line of what the system refuses in the block, with the option and its value."""
    try:
        yield
    except OSError as error:
        inside = f" ({error.filename})" if error.filename and str(error.filename) != str(path) else ""
        raise ZsrError(f"{option} {path}: {system_reason(error)}{inside}; name another place") from error
