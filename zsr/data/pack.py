"""Put a split that stays encoded into one file (`zsr.data.packed` reads it).

Each picture is decoded once, as the cells will do it: one that is cut short is refused here and not in the middle of a
training. That costs what one epoch costs to decode.
"""

from contextlib import closing
from pathlib import Path

import numpy as np

from zsr.data.image import prepared
from zsr.data.packed import TABLE
from zsr.data.parallel import side_by_side
from zsr.data.pictures import Item, Pictures
from zsr.data.transforms import Transform
from zsr.errors import ZsrError
from zsr.progress import Progress


def pack(pictures: Pictures, transform: Transform, images: Path, table: Path, workers: int) -> dict:
    """Copy pictures behind one another into a .npy of bytes, in the order in which they come."""
    rows = np.zeros(len(pictures.labels), TABLE)
    rows["label"] = pictures.labels
    progress = Progress("packing", len(rows))
    place = 0

    def check(item: Item) -> None:
        if not isinstance(item.content, bytes):
            raise ZsrError(f"{item.name}: is not encoded in its source; remove `encoded` for this split")
        prepared(item.content, item.name, transform)

    finished = side_by_side(check, pictures.fetch(np.arange(len(rows))), workers)
    with images.open("wb") as file, closing(finished):
        begin = _head(file, 0)
        for item in finished:
            rows[item.row]["start"], rows[item.row]["bytes"] = place, len(item.content)
            place += file.write(item.content)
            progress.step()
        file.seek(0)
        if _head(file, place) != begin:
            raise ZsrError(f"{images}: the header of a .npy grew; this numpy leaves no room in it")
    if not rows["bytes"].all():
        raise ZsrError(f"{int((rows['bytes'] == 0).sum())} of {len(rows)} pictures are not in their archive")
    with table.open("wb") as file:
        np.save(file, rows, allow_pickle=False)
    return {"encoded_bytes": place}


def _head(file, count: int) -> int:
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (count,)})
    return file.tell()
