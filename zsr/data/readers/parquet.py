"""Image sets in Parquet, as Hugging Face keeps them: a column of encoded images, one of labels, one of captions."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from zsr.data.pictures import FileReader, Item, Pictures, caption_of
from zsr.data.sources import Sources
from zsr.errors import ZsrError

ROWS = 64  # of a file in memory at a time


@dataclass(frozen=True)
class Parquet(FileReader):
    """`path` may hold `{split}`, `$VARIABLES` and `*`; relative, it lies in the dataset's folder.

    An image is bytes, or a struct with `bytes`, as `datasets` writes it. A label is a number; a text is looked up in
    the dataset's `keys`, else among the sorted values of all files, if there is one for each class. A caption is a
    text, or a list of alternatives. Empty: no such column is read; without labels all are 0.
    """

    path: str = "{split}*.parquet"
    image: str = "image"
    label: str = "label"
    caption: str = ""

    def open(self, split: str, sources: Sources) -> Pictures:
        import pyarrow.parquet as pq

        paths = sources.found(self.path.replace("{split}", split), "no such file")
        files = [pq.ParquetFile(path) for path in paths]
        labels = self._labels(files, sources)
        starts = np.cumsum([0, *(file.metadata.num_rows for file in files)])

        def fetch(rows: np.ndarray) -> Iterator[Item]:
            for file, start in zip(files, starts, strict=False):
                if len(rows) and rows[0] < start + file.metadata.num_rows and rows[-1] >= start:
                    yield from self._items(file, int(start), set(rows.tolist()))

        captions = None
        if self.caption:
            told = [value for file in files for value in self._column(file, self.caption)]
            captions = [caption_of(value, f"{self.caption}, row {row}") for row, value in enumerate(told)]
        return Pictures(labels, fetch, captions)

    def _labels(self, files: list, sources: Sources) -> np.ndarray:
        """The labels of all files together: texts mean the same class in each of them."""
        if not self.label:
            return np.zeros(sum(file.metadata.num_rows for file in files), np.int64)
        column = [value for file in files for value in self._column(file, self.label)]
        if None in column:
            raise ZsrError(f"column '{self.label}': row {column.index(None)} has no label")
        if not (column and isinstance(column[0], str)):
            return np.array(column, np.int64)
        where = f"{sources.folder}: column '{self.label}'"
        place = {key: i for i, key in enumerate(sources.order(column, where))}
        unknown = sorted(set(column) - set(place))
        if unknown:
            raise ZsrError(f"the label '{unknown[0]}' is none of the dataset's keys")
        return np.array([place[value] for value in column], np.int64)

    def _column(self, file, name: str) -> list:
        names = file.schema_arrow.names
        for wanted in (self.image, self.label, self.caption):
            if wanted and wanted not in names:
                raise ZsrError(f"no column '{wanted}'; the file has {', '.join(names)}")
        return file.read(columns=[name]).column(name).to_pylist()

    def _items(self, file, start: int, wanted: set[int]) -> Iterator[Item]:
        row = start
        for batch in file.iter_batches(ROWS, columns=[self.image]):
            for value in batch.column(0):
                if row in wanted:
                    content = value.as_py()
                    content = content.get("bytes") if isinstance(content, dict) else content
                    if not isinstance(content, bytes):
                        raise ZsrError(f"row {row - start}: column '{self.image}' holds no encoded image")
                    yield Item(row, f"row {row - start} of the table", content)
                row += 1
