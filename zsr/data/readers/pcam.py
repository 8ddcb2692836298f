"""PatchCamelyon: 96×96 patches and labels [n, 1, 1, 1] in gzipped HDF5 files, read in slices."""

import gzip
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsr.data.pictures import FileReader, Item, Pictures, split_of
from zsr.data.sources import Sources
from zsr.errors import ZsrError
from zsr.store import replacing

SLICE = 256


@dataclass(frozen=True)
class Pcam(FileReader):
    """The .gz are unpacked beside themselves, once; the .h5 alone will do."""

    def open(self, split: str, sources: Sources) -> Pictures:
        split_of(split, ("train", "test"), "pcam")
        stem = f"camelyonpatch_level_2_split_{split}"
        with _open(sources, f"{stem}_y.h5") as file:
            labels = np.asarray(file["y"]).reshape(-1).astype(np.int64)

        def fetch(rows: np.ndarray) -> Iterator[Item]:
            with _open(sources, f"{stem}_x.h5") as file:
                patches = file["x"]
                if len(patches) != len(labels):
                    raise ZsrError(f"{sources.folder}: {len(patches)} patches and {len(labels)} labels ({stem})")
                for first in range(0, len(labels), SLICE):
                    chosen = rows[(rows >= first) & (rows < first + SLICE)]
                    block = patches[first : first + SLICE] if len(chosen) else ()
                    for row in chosen:
                        yield Item(int(row), f"{stem}_x.h5 [{row}]", np.ascontiguousarray(block[row - first]))

        return Pictures(labels, fetch)


def _open(sources: Sources, name: str):
    import h5py

    plain = sources.folder / name
    if plain.is_file():
        sources.used.setdefault(name, "unpacked")
    else:
        _gunzip(sources.file(f"{name}.gz"), plain)
    try:
        return h5py.File(plain, "r")
    except OSError as error:
        raise ZsrError(f"{plain}: not a whole HDF5 file ({error}); remove it and start again") from error


def _gunzip(packed: Path, plain: Path) -> None:
    """HDF5 needs a file that can be gone through in any order, and the set is larger than a machine's memory."""
    try:
        with replacing(plain) as part, gzip.open(packed) as source, part.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 22)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ZsrError(f"{packed}: damaged or cut short ({error}); remove it and get it again") from error
