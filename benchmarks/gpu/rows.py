"""Measurements as JSON lines: each row is on disk before the next measurement begins, whatever ends the process.

`value` in `unit` is the figure to read. `n`, `median` and `spread` describe the timings behind it, in milliseconds:
how many, their median, and half the distance from the 20th to the 80th percentile; empty if nothing was timed.
A row with `error` says why a measurement is missing. Nothing here imports torch: the parent process reads rows too.
"""

import datetime
import json
import math
import os
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

ABOUT = ("card", "driver", "torch", "triton", "tiny")  # of the machine, the same for all rows of a process


def key(row: dict) -> tuple[str, str, str, str]:
    """What a row measures; a later row of the same key replaces an earlier one."""
    return row["part"], row["case"], row["side"], row["unit"]


def read(paths: Iterable[Path]) -> list[dict]:
    """All rows of some files, in order. A last line that was cut off in the middle is left out."""
    rows = []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        rows += [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    return rows


def latest(rows: Iterable[dict]) -> list[dict]:
    """The last measurement of each key, and the errors after which nothing was measured of their case (or part)."""
    found: dict[tuple, dict] = {}
    errors: dict[tuple, dict] = {}
    for row in rows:
        if "error" in row:
            errors[row["part"], row["case"]] = row
        else:
            found[key(row)] = row
            errors.pop((row["part"], row["case"]), None)
            errors.pop((row["part"], ""), None)
    return [*found.values(), *errors.values()]


class Rows:
    """Appends to one file; `earlier` are rows of a run that this one resumes."""

    def __init__(self, path: Path, about: dict, earlier: Iterable[dict] = ()) -> None:
        self.path, self.about = path, about
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():  # a last line that was cut off in the middle must not swallow the next
            whole = path.read_bytes()
            os.truncate(path, whole.rfind(b"\n") + 1)
        self.measured = {key(row)[:3] for row in earlier if "error" not in row and same_machine(row, about)}

    def has(self, part: str, case: str, sides: Sequence[str]) -> bool:
        """Whether all sides of a case were measured by the run that this one resumes."""
        return all((part, case, side) in self.measured for side in sides)

    def add(
        self, part: str, case: str, side: str, value: float | None, unit: str, times: Sequence[float] = (), **more: str
    ) -> dict:
        """Write one row; `times` in milliseconds; `more` is `note` or `error`."""
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{part}, {case}, {side}: the {unit} is {value}")
        row = {"part": part, "case": case, "side": side, "value": _short(value), "unit": unit}
        row |= {"n": len(times) or None, "median": None, "spread": None}
        if times:
            row |= {"median": _short(statistics.median(times)), "spread": _short(spread(times))}
        row |= more | self.about | {"date": datetime.date.today().isoformat()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        return row


def same_machine(row: dict, about: dict) -> bool:
    """Whether a row is from this card and this software: only then a resumed run may keep it."""
    return all(row.get(name) == about.get(name) for name in ABOUT)


def spread(times: Sequence[float]) -> float:
    """Half the distance from the 20th to the 80th percentile."""
    if len(times) < 2:
        return 0.0
    fifths = statistics.quantiles(times, n=5, method="inclusive")
    return (fifths[3] - fifths[0]) / 2


def _short(value: float | None) -> float | None:
    """Five digits: more would be noise, and fewer would make 0.5 % of a rate invisible."""
    return None if value is None else float(f"{value:.5g}")
