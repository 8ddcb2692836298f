"""Image sets in Parquet, as Hugging Face keeps them: a column of encoded images, one of labels, one of captions."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zsr.data.file_reader import FileReader
from zsr.data.labels import labels_of
from zsr.data.pictures import Item, Pictures, caption_of
from zsr.data.sources import Sources
from zsr.errors import ZsrError
from zsr.storage.unreadable import reading

ROWS = 64  # of a file in memory at a time
WANTED = "a Parquet file"


class Table(NamedTuple):
    """One file, opened; `start` is the row of the split that its first row is."""

    path: Path
    file: Any
    start: int

    @property
    def rows(self) -> int:
        return self.file.metadata.num_rows

    def place(self, row: int) -> str:
        """How errors call a row of the split."""
        return f"{self.path}: row {row - self.start}"


@dataclass(frozen=True)
class Parquet(FileReader):
    """`path` may hold `{split}`, `$VARIABLES` and `*`; relative, it lies in the dataset's folder.

    An image is bytes, or a struct with `bytes`, as `datasets` writes it. A label is a whole number (7.0 is 7); a text
    is looked up in the dataset's `keys`, else among the sorted values of all files, if there is one for each class. A
    caption is a text, or a list of alternatives. Empty: no such column is read; without labels all are 0.
    """

    path: str = "{split}*.parquet"
    image: str = "image"
    label: str = "label"
    caption: str = ""

    def open(self, split: str, sources: Sources) -> Pictures:
        tables = self._tables(sources.matching(self.path.replace("{split}", split), "no such file"))
        labels = self._labels(tables, sources)

        def fetch(rows: np.ndarray) -> Iterator[Item]:
            for table in tables:
                if len(rows) and rows[0] < table.start + table.rows and rows[-1] >= table.start:
                    yield from self._items(table, set(rows.tolist()))

        captions = None
        if self.caption:
            told = self._column(tables, self.caption)
            captions = [
                caption_of(value, f"{_place(tables, row)}, column '{self.caption}'") for row, value in enumerate(told)
            ]
        return Pictures(labels, fetch, captions)

    def _tables(self, paths: list[Path]) -> list[Table]:
        """The files of a split, each with all columns that are asked for, once."""
        import pyarrow.parquet as pq

        tables, start = [], 0
        for path in paths:
            with reading(path, WANTED):
                file = pq.ParquetFile(path)
                names = file.schema_arrow.names
            for wanted in (self.image, self.label, self.caption):
                if wanted and names.count(wanted) != 1:
                    has = "no column" if wanted not in names else "more than one column"
                    raise ZsrError(f"{path}: {has} '{wanted}'; the file has {', '.join(names)}")
            tables.append(Table(path, file, start))
            start += tables[-1].rows
        return tables

    def _labels(self, tables: list[Table], sources: Sources) -> np.ndarray:
        """The labels of all files together: texts mean the same class in each of them."""
        if not self.label:
            return np.zeros(sum(table.rows for table in tables), np.int64)
        column = self._column(tables, self.label)

        def where(row: int) -> str:
            return f"{_place(tables, row)}, column '{self.label}'"

        if None in column:
            raise ZsrError(f"{where(column.index(None))}: no label; give each picture one, or leave it out")
        if not any(isinstance(value, str) for value in column):
            return labels_of(column, where)
        wrong = next((row for row, value in enumerate(column) if not isinstance(value, str)), None)
        if wrong is not None:
            raise ZsrError(f"{where(wrong)}: a number, other labels are texts; write all in one way")
        label_of = {key: i for i, key in enumerate(sources.order(column, f"{sources.folder}: column '{self.label}'"))}
        unknown = next((row for row, value in enumerate(column) if value not in label_of), None)
        if unknown is not None:
            raise ZsrError(f"{where(unknown)}: the label '{column[unknown]}' is none of the dataset's keys")
        return np.array([label_of[value] for value in column], np.int64)

    def _column(self, tables: list[Table], name: str) -> list:
        """The values of one column in all files."""
        values = []
        for table in tables:
            with reading(table.path, WANTED):
                values += table.file.read(columns=[name]).column(name).to_pylist()
        return values

    def _items(self, table: Table, wanted: set[int]) -> Iterator[Item]:
        row = table.start
        for batch in _batches(table, self.image):
            for value in batch.column(0):
                if row in wanted:
                    content = value.as_py()
                    content = content.get("bytes") if isinstance(content, dict) else content
                    if not isinstance(content, bytes):
                        raise ZsrError(f"{table.place(row)}: column '{self.image}' holds no encoded image")
                    yield Item(row, table.place(row), content)
                row += 1


def _batches(table: Table, column: str) -> Iterator:
    """Some rows of a column at a time."""
    batches = table.file.iter_batches(ROWS, columns=[column])
    while True:
        with reading(table.path, WANTED):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _place(tables: list[Table], row: int) -> str:
    """How errors call a row of the split, whose file is found by bisection: there may be hundreds."""
    return tables[bisect_right(tables, row, key=lambda table: table.start) - 1].place(row)
