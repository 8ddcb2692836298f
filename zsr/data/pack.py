"""Packs a split that stays encoded into one file (`zsr.data.packed` reads it).

Each picture is decoded once, as in the cells, so that one that is cut short is refused here and not in the middle of
a training. That costs what one epoch costs to decode.
"""

from contextlib import closing
from pathlib import Path
from typing import IO

import numpy as np

from zsr.data.image import prepared
from zsr.data.packed import TABLE
from zsr.data.parallel import run_in_threads
from zsr.data.pictures import Item, Pictures
from zsr.data.transforms import Transform
from zsr.errors import ZsrError
from zsr.progress import Progress


def pack(pictures: Pictures, transform: Transform, images: Path, table: Path, workers: int) -> dict:
    """Copy pictures behind one another into a .npy of bytes, in the order in which they come."""
    rows = np.zeros(len(pictures.labels), TABLE)
    rows["label"] = pictures.labels
    progress = Progress("packing", len(rows))
    end = 0  # of what is written

    def check(item: Item) -> None:
        prepared(_encoded(item), item.name, transform)

    finished = run_in_threads(check, pictures.fetch(np.arange(len(rows))), workers)
    with images.open("wb") as file, closing(finished):
        begin = _head(file, 0)
        for item in finished:
            content = _encoded(item)
            rows[item.row]["start"], rows[item.row]["bytes"] = end, len(content)
            end += file.write(content)
            progress.step()
        file.seek(0)
        if _head(file, end) != begin:
            raise ZsrError(f"{images}: the header of a .npy grew; this numpy leaves no room in it")
    if not rows["bytes"].all():
        raise ZsrError(f"{int((rows['bytes'] == 0).sum())} of {len(rows)} pictures are not in their archive")
    with table.open("wb") as file:
        np.save(file, rows, allow_pickle=False)
    return {"encoded_bytes": end}


def _encoded(item: Item) -> bytes:
    """The bytes of a picture; one that is decoded in its source is refused."""
    if not isinstance(item.content, bytes):
        raise ZsrError(f"{item.name}: is not encoded in its source; remove `encoded` for this split")
    return item.content


def _head(file: IO[bytes], count: int) -> int:
    """Write the header of a .npy of so many bytes; returns where it ends."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (count,)})
    return file.tell()
