"""Writes and reads a prepared split: memory-mapped uint8 images and labels, checked against its record."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from zsr.data.labels import labels_of
from zsr.errors import ZsrError
from zsr.storage.records import REPAIR, check_digest
from zsr.storage.unreadable import reading

if TYPE_CHECKING:
    from zsr.data.packed import Encoded


class Chunk(NamedTuple):
    """Some images in the order of the split. Captions exist where a model is pretrained on them."""

    images: np.ndarray  # [n, 3, H, W] uint8
    labels: np.ndarray  # [n] int64, from 0, places in the dataset's `classes`
    captions: list[str] | None = None  # alternatives of one image are separated by ' | '


def check_chunk(chunk: Chunk) -> Chunk:
    """Refuse what a reader of one's own may give by mistake."""
    images = np.asarray(chunk.images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != 3 or not all(images.shape[2:]):
        raise ZsrError(f"a reader gave images of {images.dtype} {images.shape}; uint8 [n, 3, H, W] is wanted")
    counts = [len(images), len(chunk.labels), *([] if chunk.captions is None else [len(chunk.captions)])]
    if len(set(counts)) > 1:
        raise ZsrError(f"a reader gave a chunk of {counts} images, labels (and captions); as many of each are wanted")
    if not all(isinstance(caption, str) and caption.strip() for caption in chunk.captions or ()):
        raise ZsrError("a reader gave a caption that is empty or no text; give each image a text")
    return chunk._replace(images=images)


def write(chunks: Iterator[Chunk], count: int, images: Path, labels: Path) -> tuple[dict, list[str] | None]:
    """Stream chunks into the arrays, in bounded memory; returns what the manifest says, and the captions."""
    array: np.memmap | None = None
    label_parts: list[np.ndarray] = []
    captions: list[str] | None = None
    done = 0
    for given in chunks:
        chunk = check_chunk(given)
        if array is None:
            array = np.lib.format.open_memmap(images, "w+", np.uint8, (count, *chunk.images.shape[1:]))
            reserve(images)
        if chunk.images.shape[1:] != array.shape[1:]:
            raise ZsrError(f"a reader gave images {chunk.images.shape[1:]} after {array.shape[1:]}; one size is wanted")
        take = min(len(chunk.images), count - done)
        array[done : done + take] = chunk.images[:take]
        label_parts.append(labels_of(chunk.labels[:take], partial(_image_of_reader, done)))
        if chunk.captions is not None:
            captions = (captions or []) + list(chunk.captions[:take])
        done += take
        if done == count:
            break
    if array is None or done < count:
        raise ZsrError(
            f"the reader gave {done} images, the dataset's definition promises {count}; correct its `splits`"
        )
    if captions is not None and len(captions) != count:
        raise ZsrError(f"the reader gave {len(captions)} captions for {count} images; give each one, or none")
    array.flush()
    all_labels = np.concatenate(label_parts)
    save_labels(labels, all_labels)
    return {"count": count, "shape": list(array.shape[1:]), "labels": range_of(all_labels)}, captions


def save_labels(path: Path, labels: np.ndarray) -> None:
    """Write the labels [n] under exactly this name."""
    with path.open("wb") as file:
        np.save(file, labels, allow_pickle=False)


def range_of(labels: np.ndarray) -> dict[str, int]:
    """The least and the largest label, for the manifest."""
    return {"least": int(labels.min()), "most": int(labels.max())}


def _image_of_reader(first: int, row: int) -> str:
    """What errors call an image of a chunk that begins with the image `first`."""
    return f"image {first + row} of the reader"


def reserve(path: Path) -> None:
    """Claim a file's blocks at once: a full disk is an error here, and not a SIGBUS when the map is written."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def read(images: Path, record: dict, classes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Open a prepared split; refuse damaged bytes, and labels that no class name exists for.

    A split that stays encoded gives the same pixels when it is indexed (`zsr.data.packed`).
    """
    labels = images.with_name("labels.npy")
    for name, path in (("images", images), ("labels", labels)):
        check_digest(path, record["digests"][name])
    stored, known = _array(images, "r"), _array(labels)
    pixels: np.ndarray | Encoded = stored
    if known.dtype.names is not None:
        pixels, known = _encoded(stored, known, images, record)
    elif stored.dtype != np.uint8 or stored.ndim != 4 or stored.shape[1] != 3:
        raise ZsrError(f"{images}: {stored.dtype} {list(stored.shape)}, not uint8 [n, 3, H, W]; {REPAIR}")
    if known.dtype != np.int64 or known.shape != pixels.shape[:1] or not len(known):
        raise ZsrError(f"{labels}: {known.dtype} {list(known.shape)} for {len(pixels)} images, not int64 [n]; {REPAIR}")
    least, most = int(known.min()), int(known.max())
    if least < 0:
        raise ZsrError(f"{labels}: a label is {least}, less than 0; {REPAIR}")
    if classes is not None and most >= classes:
        raise ZsrError(
            f"{images.parent}: a label is {most}, but the dataset names {classes} classes; correct `classes` of its "
            "definition"
        )
    return pixels, known  # type: ignore[return-value]  # Encoded is indexed like an array


def _array(path: Path, mmap_mode: Literal["r"] | None = None) -> np.ndarray:
    """A .npy without objects."""
    with reading(path, "an array of numbers", REPAIR):
        array = np.load(path, allow_pickle=False, mmap_mode=mmap_mode)
        if not isinstance(array, np.ndarray):
            raise TypeError("it is an archive of arrays")
        return array


def _encoded(content: np.ndarray, table: np.ndarray, images: Path, record: dict) -> tuple["Encoded", np.ndarray]:
    """The pictures and labels of a split that stays encoded."""
    from zsr.data.packed import TABLE, Encoded
    from zsr.data.transforms import parse

    if table.dtype != TABLE or table.ndim != 1 or content.dtype != np.uint8 or content.ndim != 1:
        raise ZsrError(f"{images}: not pictures end to end with their table; {REPAIR}")
    start, end = table["start"], table["start"] + table["bytes"]
    if not ((start >= 0) & (start < end) & (end <= len(content))).all():
        raise ZsrError(f"{images}: the table names bytes beyond its end; {REPAIR}")
    return Encoded(content, table, parse(record["spec"]["transform"])), table["label"].copy()
