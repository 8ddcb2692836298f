"""A prepared split on disk: memory-mapped uint8 images, labels, and the record that says what their bytes must be."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from zsr.data.readers.base import Chunk
from zsr.errors import ZsrError
from zsr.store import check_digest


def write(chunks: Iterator[Chunk], count: int, images: Path, labels: Path) -> tuple[dict, list[str] | None]:
    """Stream chunks into the arrays, in bounded memory; returns what the manifest says, and the captions."""
    array: np.memmap | None = None
    found: list[np.ndarray] = []
    captions: list[str] | None = None
    done = 0
    for chunk in chunks:
        if chunk.images.dtype != np.uint8 or chunk.images.ndim != 4 or chunk.images.shape[1] != 3:
            raise ZsrError(
                f"a reader gave images of {chunk.images.dtype} {chunk.images.shape}; uint8 [n, 3, H, W] is wanted"
            )
        if array is None:
            array = np.lib.format.open_memmap(images, "w+", np.uint8, (count, *chunk.images.shape[1:]))
            reserve(images)
        take = min(len(chunk.images), count - done)
        array[done : done + take] = chunk.images[:take]
        found.append(np.asarray(chunk.labels[:take], np.int64))
        if chunk.captions is not None:
            captions = (captions or []) + list(chunk.captions[:take])
        done += take
        if done == count:
            break
    if array is None or done < count:
        raise ZsrError(
            f"the reader gave {done} images, the dataset's definition promises {count}; correct its `splits`"
        )
    array.flush()
    both = np.concatenate(found)
    with labels.open("wb") as file:
        np.save(file, both, allow_pickle=False)
    facts = {
        "count": count,
        "shape": list(array.shape[1:]),
        "labels": {"least": int(both.min()), "most": int(both.max())},
    }
    return facts, captions


def reserve(path: Path) -> None:
    """Claim a file's blocks at once: a full disk says so here, a write through the map would be killed (SIGBUS)."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def read(images: Path, record: dict, classes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Open a prepared split; refuse damaged bytes, and labels that no class name exists for.

    A split that stays encoded gives the same pixels when it is indexed (`zsr.data.encoded`).
    """
    labels = images.with_name("labels.npy")
    for name, path in (("images", images), ("labels", labels)):
        check_digest(path, record["digests"][name])
    if classes is not None and record["labels"]["most"] >= classes:
        raise ZsrError(
            f"{images.parent}: a label is {record['labels']['most']}, but the dataset names {classes} classes; "
            "correct `classes` of its definition"
        )
    pixels, known = np.load(images, mmap_mode="r", allow_pickle=False), np.load(labels, allow_pickle=False)
    if known.dtype.names is None:
        return pixels, known
    from zsr.data.encoded import Encoded
    from zsr.data.transforms import parse

    return Encoded(pixels, known, parse(record["spec"]["transform"])), known["label"].copy()
