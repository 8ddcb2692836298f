"""Decoding holds what is in flight, not the array that it fills."""

import mmap
from pathlib import Path

import numpy as np
import pytest

from zsr.data.decode import new_array, release

STATM = Path("/proc/self/statm")


@pytest.mark.skipif(not STATM.exists() or not hasattr(mmap, "MADV_DONTNEED"), reason="Linux tells resident pages")
def test_pages_that_are_given_back_keep_their_bytes(tmp_path):
    array = new_array(tmp_path / "images.npy", (64, 1 << 20))
    array[:] = np.arange(64, dtype=np.uint8)[:, None]
    before = resident()
    release(array)
    assert before - resident() > 56 << 20
    array[3] = 200
    release(array)
    array.flush()
    read = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert (read[3] == 200).all() and all((read[i] == i).all() for i in range(64) if i != 3)


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(STATM.read_text(encoding="utf-8").split()[1]) * mmap.PAGESIZE
