"""Parses the files that list the images of a set (words, JSON, MATLAB); mistakes are named by file and line."""

import io
import json
from typing import TYPE_CHECKING

from zsr.errors import ZsrError, short
from zsr.storage.unreadable import reading

if TYPE_CHECKING:
    import numpy as np


def text_of(content: bytes, where: str) -> str:
    """UTF-8, with or without a byte order mark."""
    with reading(where, "text in UTF-8", content=content):
        return content.decode("utf-8-sig")


def rows_of(
    content: bytes, columns: int, where: str, separator: str | None = None, cuts: int = -1, comment: str = "\0"
) -> list[list[str]]:
    """The words of each line that is neither empty nor a comment, at least `columns` of them."""
    rows = []
    for number, line in enumerate(text_of(content, where).splitlines(), 1):
        if line.strip() and not line.startswith(comment):
            row = line.strip().split(separator, cuts)
            if len(row) < columns:
                raise ZsrError(
                    f"{where}, line {number}: '{short(line.strip(), 60)}' lacks one of {columns} values; get it again"
                )
            rows.append(row)
    return rows


def json_of(content: bytes, where: str) -> object:
    """The content of a JSON file."""
    with reading(where, "JSON", content=content):
        return json.loads(content)


def json_lines(content: bytes, where: str) -> list[dict]:
    """The mappings of a file of JSON lines."""
    rows = []
    for number, line in enumerate(text_of(content, where).split("\n"), 1):  # a text of JSON may hold other line ends
        if line.strip():
            row = json_of(line.encode(), f"{where}, line {number}")
            if not isinstance(row, dict):
                raise ZsrError(f"{where}, line {number}: not a mapping in JSON; get it again")
            rows.append(row)
    return rows


def matlab(content: bytes, name: str, where: str) -> "np.ndarray":
    """The array `name` of a .mat file.

    SciPy may crash on a damaged one; all sets that have such files name their checksums, which are compared before.
    """
    from scipy.io import loadmat

    with reading(where, "a MATLAB file", content=content):
        arrays = loadmat(io.BytesIO(content), squeeze_me=True)
    if name not in arrays:
        raise ZsrError(f"{where}: has no array '{name}'; get it again")
    return arrays[name]
