"""Measurements as CSV: what was measured before stays."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path


def append(path: Path, columns: Sequence[str], rows: Iterable[dict]) -> None:
    """Rows at the end of a file, which gets its header when it is made; what a row does not say stays empty."""
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        if new:
            writer.writeheader()
        writer.writerows(rows)
