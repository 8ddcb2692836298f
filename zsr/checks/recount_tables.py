"""The numbers of the tables computed once more from the rows, in plain loops: an average must be that of its entries.

Nothing of zsr.report is imported: what wrote the tables does not check them.
"""

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ENTRY = ("protocol", "backbone", "model", "attack", "eps")  # what a line of methods.csv averages over sets
TOLERANCE = 1e-8  # tables are written with ten digits


@dataclass(frozen=True)
class Counted:
    """One cell, as its rows have it."""

    protocol: str
    id: str
    backbone: str
    dataset: str
    attack: str  # as tables name it
    eps: str
    is_source: bool
    shares_words: bool
    worst_case: bool
    index: np.ndarray
    clean: np.ndarray  # bool [n]
    robust: np.ndarray  # bool [n]


class Recount:
    """Holds tables against cells; `faults` has a line for every number that is not what the rows give."""

    def __init__(self, folder: Path, cells: Iterable[Counted]) -> None:
        self.folder = folder
        self.cells = list(cells)
        self.checked = 0
        self.faults: list[str] = []

    def run(self) -> "Recount":
        """Check cells, then the sets made of them, then the means over sets."""
        entries = self._cells()
        sets = self._means("sets", ("protocol", "backbone", "model", "dataset", "attack", "eps"), entries)
        self._methods(sets)
        return self

    def _cells(self) -> list[dict]:
        """cells.csv against the rows; returns its lines with the numbers that the rows give."""
        truth = {(c.protocol, c.id, c.dataset, c.attack, c.eps): c for c in [*self.cells, *unions(self.cells)]}
        entries = []
        for line in self._read("cells"):
            key = tuple(line[name] for name in ("protocol", "id", "dataset", "attack", "eps"))
            cell = truth.pop(key, None)
            if cell is None:
                self.faults.append(f"cells.csv: a line for {' '.join(key)}, of which there is no cell")
                continue
            found = {"n": len(cell.robust), "clean": cell.clean.mean(), "robust": cell.robust.mean()}
            self._compare("cells.csv", key, line, found)
            entries.append({**line, **found, "is_source": cell.is_source, "shares_words": cell.shares_words})
        self.faults += [f"cells.csv: no line for {' '.join(key)}" for key in truth]
        return entries

    def _means(self, table: str, names: tuple[str, ...], entries: list[dict]) -> list[dict]:
        """Averages over seeds."""
        groups: dict[tuple, list[dict]] = defaultdict(list)
        for entry in entries:
            groups[tuple(entry[name] for name in names)].append(entry)
        made = []
        for line in self._read(table):
            key = tuple(line[name] for name in names)
            members = groups.pop(key, None)
            if members is None:
                self.faults.append(f"{table}.csv: a line for {' '.join(key)}, of which there is no cell")
                continue
            found = {q: sum(m[q] for m in members) / len(members) for q in ("clean", "robust")}
            self._compare(f"{table}.csv", key, line, found)
            made.append({**members[0], **found})
        self.faults += [f"{table}.csv: no line for {' '.join(key)}" for key in groups]
        return made

    def _methods(self, sets: list[dict]) -> None:
        """Means over sets; every model of a protocol and attack is averaged over the same list, or not at all."""
        scopes = {name: members(sets, name) for name in ("all", "zero-shot", "unrelated", "source")}
        entries: dict[tuple, dict[str, dict]] = defaultdict(dict)
        for entry in sets:
            entries[tuple(entry[name] for name in ENTRY)][entry["dataset"]] = entry
        truth = {
            (*key, scope): (names, mine)
            for key, mine in entries.items()
            for scope, lists in scopes.items()
            if (names := lists[key[0], *key[3:]])
        }
        for line in self._read("methods"):
            key = (*(line[name] for name in ENTRY), line["scope"])
            names, mine = truth.pop(key, ([], {}))
            whole = bool(names) and all(name in mine for name in names)
            found = {"sets": len(names)}
            for quantity in ("clean", "robust"):
                found[quantity] = sum(mine[n][quantity] for n in names) / len(names) if whole else math.nan
            self._compare("methods.csv", key, line, found)
        self.faults += [f"methods.csv: no line for {' '.join(key)}" for key in truth]

    def _compare(self, table: str, key: tuple, line: dict[str, str], found: dict[str, float]) -> None:
        for name, wanted in found.items():
            self.checked += 1
            said = float(line[name] or "nan")
            if not (math.isnan(said) and math.isnan(wanted)) and not abs(said - wanted) <= TOLERANCE:
                self.faults.append(f"{table}: {' '.join(key)}: {name} is {line[name]}, its entries give {wanted:.10g}")

    def _read(self, table: str) -> list[dict[str, str]]:
        with (self.folder / f"{table}.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


def unions(cells: list[Counted]) -> Iterator[Counted]:
    """The worst case of protocols that ask for it: an image stands if it stood against every attack at that ε."""
    groups: dict[tuple, list[Counted]] = defaultdict(list)
    for cell in cells:
        if cell.worst_case:
            groups[cell.protocol, cell.id, cell.dataset, cell.eps].append(cell)
    for parts in groups.values():
        first, stands = parts[0], {}
        for part in parts:
            for place, robust in zip(part.index.tolist(), part.robust.tolist(), strict=True):
                stands[place] = stands.get(place, True) and robust
        if len(parts) > 1:
            robust = np.array([stands[place] for place in first.index.tolist()])
            yield Counted(**{**vars(first), "attack": "worst case", "robust": robust})


def members(sets: list[dict], scope: str) -> dict[tuple, list[str]]:
    """(protocol, attack, ε) -> the sets of a mean, maybe none: a set is a source if any model was trained on it."""
    sources = {(e["protocol"], e["dataset"]) for e in sets if e["is_source"]}
    related = {(e["protocol"], e["dataset"]) for e in sets if e["shares_words"]}
    found: dict[tuple, list[str]] = defaultdict(list)
    for entry in sets:
        at = (entry["protocol"], entry["dataset"])
        belongs = {"all": True, "source": at in sources, "zero-shot": at not in sources,
                   "unrelated": at not in sources and at not in related}[scope]  # fmt: skip
        names = found[entry["protocol"], entry["attack"], entry["eps"]]
        if belongs and entry["dataset"] not in names:
            names.append(entry["dataset"])
    return found
