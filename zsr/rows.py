"""The rows of a cell as parquet: written deterministically, read with their digest checked."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zsr.store import check_digest


def write_rows(path: Path, columns: dict[str, np.ndarray]) -> None:
    """One row per image; text columns are dictionary-encoded."""
    arrays = {}
    for name, values in columns.items():
        array = pa.array(values)
        arrays[name] = array.dictionary_encode() if pa.types.is_string(array.type) else array
    pq.write_table(pa.table(arrays), path, compression="zstd")


def read_rows(path: Path, digest: str) -> pa.Table:
    """Read a cell's rows; a damaged file is refused by name."""
    return pq.read_table(check_digest(path, digest), memory_map=False)
