"""Turns the labels of a source into places in the dataset's `classes`; a number that is no place is refused, not cut.

Whole floats (7.0) are taken: tables write them for integers. Fractions, NaN, truth values and lists are not.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from zsr.errors import ZsrError, short

MOST = 2**63 - 1  # of int64


def label_of(value: object, where: str) -> int:
    """One label."""
    place = _whole(value)
    if place is None:
        raise _no_label(value, where)
    return place


def labels_of(values: Sequence[object] | np.ndarray, where: Callable[[int], str]) -> np.ndarray:
    """All labels [n] int64; `where` names the row that is wrong."""
    if isinstance(values, np.ndarray) and _are_labels(values):
        return values.astype(np.int64)  # a million at once
    places = [_whole(value) for value in values]
    if None in places:
        row = places.index(None)
        raise _no_label(values[row], where(row))
    return np.array(places, np.int64)


def _are_labels(values: np.ndarray) -> bool:
    """Whether an array holds whole numbers from 0, and nothing else."""
    integers = values.ndim == 1 and values.dtype.kind in "iu" and values.size > 0
    return integers and int(values.min()) >= 0 and int(values.max()) <= MOST


def _whole(value: object) -> int | None:
    """The value as a whole number from 0; None where it is none."""
    value = value.item() if isinstance(value, np.generic | np.ndarray) and value.ndim == 0 else value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST:
        return value
    return None


def _no_label(value: object, where: str) -> ZsrError:
    value = value.item() if isinstance(value, np.generic) else value
    shown = short(" ".join(repr(value).split()), 60)
    return ZsrError(f"{where}: the label is {shown}; write the number of the class, a whole number from 0")


def label_of_text(text: str | bytes, where: str) -> int:
    """The label that a text file holds as digits."""
    try:
        return label_of(float(text) if b"." in _bytes(text) else int(text), where)
    except (ValueError, OverflowError) as error:
        raise ZsrError(f"{where}: the label {short(repr(text), 40)} is not a number") from error


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def label_of_name(known: Mapping[str, int], key: str, where: str) -> int:
    """The label of a class that the source names."""
    if key not in known:
        raise ZsrError(f"{where}: the unknown class '{key}'; add it to `keys` of the dataset, or get the file again")
    return known[key]
