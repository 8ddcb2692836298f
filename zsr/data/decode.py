"""Decodes encoded pictures into the memory-mapped array of a split, in threads; an interrupted run is continued.

Pillow lets other threads run while it decodes and resamples, so threads are enough. Each picture is written to its own
row: neither the number of workers nor the order of the archive changes a byte. Memory is bounded by the pictures in
flight. The disk is taken before the first picture: a full one is an error at the start and not a bus error at the end.
"""

import errno
import mmap
import os
import shutil
import time
from contextlib import closing, suppress
from pathlib import Path

import numpy as np

from zsr.data.image import prepared
from zsr.data.parallel import run_in_threads
from zsr.data.pictures import Item, Pictures
from zsr.data.prepared import reserve
from zsr.data.transforms import Transform
from zsr.errors import ZsrError, system_error
from zsr.progress import Progress

SAVE = 30.0  # seconds between notes of what is done
RELEASE = 1 << 28  # bytes of decoded pixels after which their pages are given back


def fill(pictures: Pictures, transform: Transform, target: Path, key: str, workers: int, save: float = SAVE) -> dict:
    """Decode every picture into `target`; only unfinished work of the same `key` is continued."""
    count = len(pictures.labels)
    side = transform.side
    shape = (3, side, side) if side else _first_shape(pictures, transform)
    note = target.with_name(f".{target.name}.{key}.done.npy")
    array, done = _resume(target, note, (count, *shape))
    progress = Progress("decoding", count, int(done.sum()))
    last = time.monotonic()

    def work(item: Item) -> None:
        image = prepared(item.content, item.name, transform)
        if image.shape != shape:
            raise ZsrError(
                f"{item.name}: {image.shape[2]}×{image.shape[1]}, others are {shape[2]}×{shape[1]}; "
                "write transform: 224 or another that resizes"
            )
        array[item.row] = image

    often = max(1, RELEASE // int(np.prod(shape)))
    try:
        with closing(run_in_threads(work, pictures.fetch(np.flatnonzero(~done)), workers)) as finished:
            for settled, item in enumerate(finished, 1):
                done[item.row] = True
                progress.step()
                if settled % often == 0:
                    release(array)
                if time.monotonic() - last > save:
                    last = _note(array, done, note)
    except BaseException:
        _note(array, done, note)
        raise
    if not done.all():
        raise ZsrError(f"{int((~done).sum())} of {count} pictures are not in the archive that lists them")
    array.flush()
    note.unlink(missing_ok=True)
    return {"shape": list(shape), "resumed": int(progress.first)}


def _first_shape(pictures: Pictures, transform: Transform) -> tuple[int, ...]:
    for item in pictures.fetch(np.arange(min(1, len(pictures.labels)))):
        return prepared(item.content, item.name, transform).shape
    raise ZsrError("the split holds no picture")


def _resume(target: Path, note: Path, shape: tuple[int, ...]) -> tuple[np.memmap, np.ndarray]:
    """The array of an interrupted run and which rows are done, or a new array; leftovers of other runs are removed."""
    for other in target.parent.glob(f".{target.name}.*.done.npy"):
        if other != note:
            other.unlink()
    if note.is_file() and target.is_file():
        with suppress(ValueError, EOFError):  # cut short: neither is believed
            array, done = np.lib.format.open_memmap(target, "r+"), np.load(note, allow_pickle=False)
            if array.shape == shape and array.dtype == np.uint8 and done.shape == shape[:1]:
                return array, done
    note.unlink(missing_ok=True)  # first: a later run would believe it of the new array of zeros
    return new_array(target, shape), np.zeros(shape[0], bool)


def new_array(target: Path, shape: tuple[int, ...]) -> np.memmap:
    """A new array on disk whose space is reserved."""
    size = int(np.prod(shape, dtype=np.int64)) + 128
    target.unlink(missing_ok=True)
    free = shutil.disk_usage(target.parent).free
    if size > free:
        raise ZsrError(f"{target.parent}: {gigabytes(size)} are needed and {gigabytes(free)} are free; make room first")
    try:
        array = np.lib.format.open_memmap(target, "w+", np.uint8, shape)
        reserve(target)
    except OSError as error:
        target.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise system_error(target.parent, error, "make room", f"no room for {gigabytes(size)}") from error
        raise
    return array


def release(array: np.memmap) -> None:
    """Give the array's pages back to the kernel, which writes them: they no longer count as memory of this job."""
    pages = array.base
    if isinstance(pages, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)


def gigabytes(size: int) -> str:
    """For people: `1.2 GB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _note(array: np.memmap, done: np.ndarray, note: Path) -> float:
    """Write down which rows are done; returns the time."""
    array.flush()
    part = note.with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, done)
    os.replace(part, note)
    return time.monotonic()
