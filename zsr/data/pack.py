"""Put a split that stays encoded into one file (`zsr.data.encoded` reads it).

Each picture is decoded once, as the cells will do it: one that is cut short is refused here and not in the middle of a
training. That costs what one epoch costs to decode.
"""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from zsr.data.encoded import TABLE
from zsr.data.image import prepared
from zsr.data.pictures import Pictures
from zsr.data.transforms import Transform
from zsr.errors import ZsrError
from zsr.progress import Progress

IN_FLIGHT = 8  # pictures per worker


def pack(pictures: Pictures, transform: Transform, images: Path, table: Path, workers: int) -> dict:
    """Copy pictures behind one another into a .npy of bytes, in the order in which they come."""
    rows = np.zeros(len(pictures.labels), TABLE)
    rows["label"] = pictures.labels
    progress = Progress("packing", len(rows))
    place = 0
    pending: deque[Future] = deque()
    with images.open("wb") as file, ThreadPoolExecutor(workers) as pool:
        begin = _head(file, 0)
        try:
            for item in pictures.fetch(np.arange(len(rows))):
                if not isinstance(item.content, bytes):
                    raise ZsrError(f"{item.name}: is not encoded in its source; remove `encoded` for this split")
                pending.append(pool.submit(prepared, item.content, item.name, transform))
                if len(pending) >= IN_FLIGHT * workers:
                    pending.popleft().result()
                rows[item.row]["start"], rows[item.row]["bytes"] = place, len(item.content)
                place += file.write(item.content)
                progress.step()
            while pending:
                pending.popleft().result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
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
