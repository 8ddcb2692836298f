"""Put a split that stays encoded into one file (`zsr.data.encoded` reads it): each picture is looked at."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from zsr.data.pictures import Pictures
from zsr.errors import ZsrError
from zsr.progress import Progress

TABLE = np.dtype([("label", np.int64), ("start", np.int64), ("bytes", np.int64)])
BAD = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def pack(pictures: Pictures, images: Path, table: Path) -> dict:
    """Copy pictures behind one another into a .npy of bytes, in the order in which they come."""
    rows = np.zeros(len(pictures.labels), TABLE)
    rows["label"] = pictures.labels
    progress = Progress("packing", len(rows))
    place = 0
    with images.open("wb") as file:
        begin = _head(file, 0)
        for item in pictures.fetch(np.arange(len(rows))):
            if not isinstance(item.content, bytes):
                raise ZsrError(f"{item.name}: is not encoded in its source; leave `encoded` away for this split")
            try:
                Image.open(io.BytesIO(item.content))
            except BAD as error:
                raise ZsrError(f"{item.name}: not a picture ({type(error).__name__}); remove or replace it") from error
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
