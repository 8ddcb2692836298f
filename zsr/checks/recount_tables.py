"""The numbers of the tables computed once more from the rows, in plain loops: an average must be that of its entries.

Nothing of zsr.report is imported: the code that wrote the tables does not check them.
"""

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

TOLERANCE = 1e-8  # tables are written with ten digits
SCOPES = ("all", "zero-shot", "unrelated", "source")


@dataclass(frozen=True)
class CellRows:
    """One cell, as its rows have it."""

    protocol: str
    id: str
    dataset: str
    attack: str  # as tables name it
    eps: str
    is_source: bool
    shares_words: bool
    worst_case: bool
    index: np.ndarray
    clean: np.ndarray  # bool [n]
    robust: np.ndarray  # bool [n]

    @property
    def key(self) -> "CellKey":
        return CellKey(self.protocol, self.id, self.dataset, self.attack, self.eps)


class CellKey(NamedTuple):
    """What a line of cells.csv is about; the fields are names of columns."""

    protocol: str
    id: str
    dataset: str
    attack: str
    eps: str


class SetKey(NamedTuple):
    """What a line of sets.csv averages over seeds."""

    protocol: str
    backbone: str
    model: str
    dataset: str
    attack: str
    eps: str


class Condition(NamedTuple):
    """One attack at one ε in one protocol; all models are averaged over the same sets under it."""

    protocol: str
    attack: str
    eps: str


class MeanKey(NamedTuple):
    """What a line of methods.csv averages over sets."""

    protocol: str
    backbone: str
    model: str
    attack: str
    eps: str
    scope: str


K = TypeVar("K", CellKey, SetKey, MeanKey)
V = TypeVar("V")


class Entry(NamedTuple):
    """The accuracies of one line, as the rows give them."""

    line: SetKey  # the line of sets.csv that it is or belongs to
    clean: float
    robust: float
    is_source: bool
    shares_words: bool

    @property
    def condition(self) -> Condition:
        return Condition(self.line.protocol, self.line.attack, self.line.eps)


class Recount:
    """Holds tables against cells; `faults` has a line for every number that is not what the rows give."""

    def __init__(self, folder: Path, cells: Iterable[CellRows]) -> None:
        self.folder = folder
        self.cells = list(cells)
        self.checked = 0
        self.faults: list[str] = []

    def run(self) -> "Recount":
        """Check cells, then the sets made of them, then the means over sets."""
        self._recount_means_over_sets(self._recount_means_over_seeds(self._recount_cells()))
        return self

    def _recount_cells(self) -> list[Entry]:
        """cells.csv against the rows; returns what the rows give for each of its lines."""
        cells = {cell.key: cell for cell in [*self.cells, *worst_cases(self.cells)]}
        entries = []
        for line, key, cell in self._matched("cells", CellKey, cells):
            clean, robust = float(cell.clean.mean()), float(cell.robust.mean())
            self._compare("cells", key, line, {"n": len(cell.robust), "clean": clean, "robust": robust})
            entries.append(Entry(key_of(SetKey, line), clean, robust, cell.is_source, cell.shares_words))
        return entries

    def _recount_means_over_seeds(self, entries: list[Entry]) -> list[Entry]:
        """sets.csv against the entries of cells.csv; returns what these give for each of its lines."""
        seeds: dict[SetKey, list[Entry]] = defaultdict(list)
        for entry in entries:
            seeds[entry.line].append(entry)
        means = []
        for line, key, averaged in self._matched("sets", SetKey, seeds):
            clean = sum(entry.clean for entry in averaged) / len(averaged)
            robust = sum(entry.robust for entry in averaged) / len(averaged)
            self._compare("sets", key, line, {"clean": clean, "robust": robust})
            means.append(averaged[0]._replace(clean=clean, robust=robust))
        return means

    def _recount_means_over_sets(self, sets: list[Entry]) -> None:
        """methods.csv against the entries of sets.csv; every model is averaged over the same list, or not at all."""
        names_of = {scope: sets_of_mean(sets, scope) for scope in SCOPES}
        models: dict[MeanKey, dict[str, Entry]] = defaultdict(dict)  # -> set -> its entry
        for entry in sets:
            for scope in SCOPES:
                if names_of[scope][entry.condition]:
                    of = entry.line
                    key = MeanKey(of.protocol, of.backbone, of.model, of.attack, of.eps, scope)
                    models[key][of.dataset] = entry
        for line in self._read("methods"):
            key = key_of(MeanKey, line)
            mine = models.pop(key, {})
            names = names_of[key.scope][Condition(key.protocol, key.attack, key.eps)] if mine else []
            whole = bool(names) and all(name in mine for name in names)
            wanted: dict[str, float] = {"sets": len(names), "clean": math.nan, "robust": math.nan}
            if whole:
                wanted["clean"] = sum(mine[name].clean for name in names) / len(names)
                wanted["robust"] = sum(mine[name].robust for name in names) / len(names)
            self._compare("methods", key, line, wanted)
        self._report_missing_lines("methods", models)

    def _compare(self, table: str, key: tuple[str, ...], line: dict[str, str], wanted: Mapping[str, float]) -> None:
        """The numbers of one line against what its entries give."""
        for name, value in wanted.items():
            self.checked += 1
            written = float(line[name] or "nan")
            if not (math.isnan(written) and math.isnan(value)) and not abs(written - value) <= TOLERANCE:
                self.faults.append(
                    f"{table}.csv: {' '.join(key)}: {name} is {line[name]}, its entries give {value:.10g}"
                )

    def _matched(self, table: str, kind: type[K], known: dict[K, V]) -> Iterator[tuple[dict[str, str], K, V]]:
        """(line, its key, what is known of it) of each line of a table; reports lines that only one side has."""
        for line in self._read(table):
            key = key_of(kind, line)
            if key in known:
                yield line, key, known.pop(key)
            else:
                self.faults.append(f"{table}.csv: a line for {' '.join(key)}, of which there is no cell")
        self._report_missing_lines(table, known)

    def _report_missing_lines(self, table: str, keys: Iterable[tuple[str, ...]]) -> None:
        self.faults += [f"{table}.csv: no line for {' '.join(key)}" for key in keys]

    def _read(self, table: str) -> list[dict[str, str]]:
        with (self.folder / f"{table}.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


def key_of(kind: type[K], line: dict[str, str]) -> K:
    """The key of a line: its columns that the key names."""
    return kind(*(line[name] for name in kind._fields))


def worst_cases(cells: list[CellRows]) -> Iterator[CellRows]:
    """The worst case of protocols that ask for it: an image is robust if every attack at that ε left it so."""
    groups: dict[tuple[str, str, str, str], list[CellRows]] = defaultdict(list)
    for cell in cells:
        if cell.worst_case:
            groups[cell.protocol, cell.id, cell.dataset, cell.eps].append(cell)
    for attacked in groups.values():
        if len(attacked) < 2:
            continue
        robust: dict[int, bool] = {}  # image -> whether no attack fooled it
        for cell in attacked:
            for image, survived in zip(cell.index.tolist(), cell.robust.tolist(), strict=True):
                robust[image] = robust.get(image, True) and survived
        first = attacked[0]
        yield replace(first, attack="worst case", robust=np.array([robust[image] for image in first.index.tolist()]))


def sets_of_mean(sets: list[Entry], scope: str) -> dict[Condition, list[str]]:
    """The sets of a mean, maybe none; a set is a source if any model of the protocol was trained on it."""
    sources = {(entry.line.protocol, entry.line.dataset) for entry in sets if entry.is_source}
    related = {(entry.line.protocol, entry.line.dataset) for entry in sets if entry.shares_words}
    names_of: dict[Condition, list[str]] = defaultdict(list)
    for entry in sets:
        key = (entry.line.protocol, entry.line.dataset)
        belongs = {"all": True, "source": key in sources, "zero-shot": key not in sources,
                   "unrelated": key not in sources and key not in related}[scope]  # fmt: skip
        names = names_of[entry.condition]
        if belongs and entry.line.dataset not in names:
            names.append(entry.line.dataset)
    return names_of
