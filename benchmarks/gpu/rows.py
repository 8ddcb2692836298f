"""Measurements as JSON lines; each row is on disk before the next measurement begins.

`value` in `unit` is the figure to read. `n`, `median` and `spread` describe the timings behind it, in milliseconds:
how many, their median, and half the distance from the 20th to the 80th percentile; empty if nothing was timed.
A row with `error` says why a measurement is missing. A row without a `side` ends a case and says how long it took:
a resumed run skips the cases that have one. Nothing here imports torch, since the parent process reads rows too.
"""

import datetime
import json
import math
import os
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

MACHINE = ("card", "driver", "torch", "triton", "tiny")  # the same for all rows of a process
FILE = "rows.jsonl"  # in the folder of a run
# units that several parts or several questions use
WHOLE_CASE, RATE = "s in all", "image-steps/s"
COPY, SHARE = "of the copy", "of the matmul rate"
CHANGED, DIFFERENT = "verdicts changed", "pixels that differ"


def key(row: dict) -> tuple[str, str, str, str]:
    """What a row measures; a later row with the same key replaces an earlier one."""
    return row["part"], row["case"], row["side"], row["unit"]


def read(paths: Iterable[Path]) -> list[dict]:
    """All rows of some files, in order. A last line without its end is left out."""
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


def of_one_machine(rows: Sequence[dict]) -> list[dict]:
    """The rows of the machine that measured last, and the errors that name no machine."""
    last = next((row for row in reversed(rows) if row["card"]), None)
    return [row for row in rows if last is None or not row["card"] or same_machine(row, last)]


def same_machine(row: dict, about: dict) -> bool:
    """Whether a row is from this GPU and this software."""
    return all(row.get(name) == about.get(name) for name in MACHINE)


def spread(times: Sequence[float]) -> float:
    """Half the distance from the 20th to the 80th percentile."""
    if len(times) < 2:
        return 0.0
    fifths = statistics.quantiles(times, n=5, method="inclusive")
    return (fifths[3] - fifths[0]) / 2


class Rows:
    """Appends rows to one file; `earlier` are the rows of a run that this one resumes."""

    def __init__(self, path: Path, machine: dict, earlier: Iterable[dict] = ()) -> None:
        self.path, self.machine = path, machine
        ended = (row for row in earlier if row["unit"] == WHOLE_CASE and same_machine(row, machine))
        self.finished = {(row["part"], row["case"]) for row in ended}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():  # the next row must not be appended to a line that was cut off
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)

    def write(
        self, part: str, case: str, side: str, value: float | None, unit: str, times: Sequence[float] = (), **more: str
    ) -> dict:
        """Append one row; `times` in milliseconds; `more` is `note` or `error`."""
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{part}, {case}, {side}: the {unit} is {value}")
        row = {"part": part, "case": case, "side": side, "value": five_digits(value), "unit": unit}
        row |= {"n": len(times) or None, "median": None, "spread": None}
        if times:
            row |= {"median": five_digits(statistics.median(times)), "spread": five_digits(spread(times))}
        row |= more | self.machine | {"date": datetime.date.today().isoformat()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        return row


def five_digits(value: float | None) -> float | None:
    """Fewer digits would hide 0.5 % of a rate; more would be noise."""
    return None if value is None else float(f"{value:.5g}")
