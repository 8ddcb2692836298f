"""PatchCamelyon: 96×96 patches and labels [n, 1, 1, 1] in gzipped HDF5 files, read in slices."""

import gzip
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zsr.data.file_reader import FileReader
from zsr.data.labels import labels_of
from zsr.data.pictures import Item, Pictures, split_of
from zsr.data.sources import Sources
from zsr.errors import ZsrError
from zsr.storage.records import replacing
from zsr.storage.unreadable import reading

if TYPE_CHECKING:
    import h5py

SLICE = 256


@dataclass(frozen=True)
class Pcam(FileReader):
    """The .gz are unpacked beside themselves, once; the .h5 alone will do."""

    def open(self, split: str, sources: Sources) -> Pictures:
        split_of(split, ("train", "test"), "pcam")
        stem = f"camelyonpatch_level_2_split_{split}"
        with _open(sources, f"{stem}_y.h5") as file, reading(Path(file.filename), "a whole HDF5 file"):
            numbers = np.asarray(_array(file, "y")).reshape(-1)
        labels = labels_of(numbers, lambda row: f"{sources.folder / stem}_y.h5 [{row}]")

        def fetch(rows: np.ndarray) -> Iterator[Item]:
            with _open(sources, f"{stem}_x.h5") as file:
                patches = _array(file, "x")
                if patches.dtype != np.uint8 or patches.ndim != 4 or patches.shape[3] != 3:
                    raise ZsrError(f"{file.filename}: patches of {patches.dtype} {list(patches.shape)}; get it again")
                if len(patches) != len(labels):
                    raise ZsrError(f"{sources.folder}: {len(patches)} patches and {len(labels)} labels ({stem})")
                for first in range(0, len(labels), SLICE):
                    chosen = rows[(rows >= first) & (rows < first + SLICE)]
                    with reading(Path(file.filename), "a whole HDF5 file"):
                        block = patches[first : first + SLICE] if len(chosen) else ()
                    for row in chosen:
                        yield Item(int(row), f"{stem}_x.h5 [{row}]", np.ascontiguousarray(block[row - first]))

        return Pictures(labels, fetch)


def _open(sources: Sources, name: str) -> "h5py.File":
    """The unpacked HDF5 file of a name, opened."""
    import h5py

    plain = sources.folder / name
    if plain.is_file():
        sources.used.setdefault(name, "unpacked")
    else:
        _gunzip(sources.file(f"{name}.gz"), plain)
    with reading(plain, "a whole HDF5 file", f"remove it (and {name}.gz, if that is damaged) and start again"):
        return h5py.File(plain, "r")


def _array(file: "h5py.File", name: str) -> "h5py.Dataset":
    """The array of this name in a file."""
    if name not in file or not hasattr(file[name], "dtype"):
        raise ZsrError(f"{file.filename}: has no array '{name}'; remove it and get it again")
    return file[name]


def _gunzip(packed: Path, plain: Path) -> None:
    """HDF5 needs a file that can be gone through in any order, and the set is larger than a machine's memory."""
    with (
        reading(packed, "a whole gzip file"),
        replacing(plain) as part,
        gzip.open(packed) as source,
        part.open("wb") as target,
    ):
        shutil.copyfileobj(source, target, 1 << 22)
