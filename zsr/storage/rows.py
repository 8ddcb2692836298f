"""Writes and reads the rows of a cell, one per image, as parquet; equal rows give equal bytes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zsr.storage.records import check_digest


def write_rows(path: Path, columns: dict[str, np.ndarray]) -> None:
    """One row per image; text columns are dictionary-encoded."""
    arrays = {}
    for name, values in columns.items():
        array = pa.array(values)
        arrays[name] = array.dictionary_encode() if pa.types.is_string(array.type) else array
    pq.write_table(pa.table(arrays), path, compression="zstd")


def read_rows(path: Path, digest: str) -> pa.Table:
    """Read a cell's rows, after a check of the file's digest."""
    return pq.read_table(check_digest(path, digest), memory_map=False)


def plain(table: pa.Table) -> dict[str, np.ndarray]:
    """The columns as `write_rows` takes them: numbers as they are, text as objects."""
    text = {field.name for field in table.schema if pa.types.is_dictionary(field.type)}
    return {
        name: np.asarray(table[name].to_pylist(), dtype=object) if name in text else table[name].to_numpy()
        for name in table.column_names
    }
