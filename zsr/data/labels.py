"""Labels as a source gives them -> places in the dataset's `classes`. A number that is no place is refused, never cut.

Whole floats (7.0) are taken: tables write them for integers. Fractions, NaN, truth values and lists are not.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from zsr.errors import ZsrError

MOST = 2**63 - 1  # of int64


def place_of(value: object, where: str) -> int:
    """One label."""
    value = value.item() if isinstance(value, np.generic | np.ndarray) and value.ndim == 0 else value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
        shown = f"{value!r:.60}".replace("\n", " ")
        raise ZsrError(f"{where}: the label is {shown}; write the number of the class, a whole number from 0")
    return value


def places_of(values: Sequence[object] | np.ndarray, where: Callable[[int], str]) -> np.ndarray:
    """All labels [n] int64; `where` names the row that is wrong."""
    integers = isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "iu" and values.size
    if integers and int(values.min()) >= 0 and int(values.max()) <= MOST:
        return values.astype(np.int64)  # a million at once
    return np.array([place_of(value, where(row)) for row, value in enumerate(values)], np.int64)


def place_in(text: str | bytes, where: str) -> int:
    """The label that a text file holds as digits."""
    try:
        return place_of(float(text) if b"." in _bytes(text) else int(text), where)
    except (ValueError, OverflowError) as error:
        raise ZsrError(f"{where}: the label {text[:40]!r} is not a number") from error


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def place_among(known: Mapping[str, int], key: str, where: str) -> int:
    """The label of a class that the source names."""
    if key not in known:
        raise ZsrError(f"{where}: the unknown class '{key}'; add it to `keys` of the dataset, or get the file again")
    return known[key]
