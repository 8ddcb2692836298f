"""Which differences between models are more than chance: all pairs of one backbone, on the same images.

A column of the report is one (attack, ε) on one set, or one mean over sets. Within a column the best model is marked,
and with it every model that the paired test cannot tell from it after Holm's correction over the whole table.
"""

import itertools
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from zsr.report.headline import LEVEL
from zsr.report.tables.cells import Cell
from zsr.report.tables.keys import Column, Labels, Scopes, Table
from zsr.report.tables.statistics import bootstrap_means, holm, paired_test, percentile_interval

FAMILY = [*Table._fields, "scope"]  # the tests of one table and scope are corrected together
COLUMNS = [*Column._fields, "a", "b", "n", "share_a", "share_b", "difference", "lo", "hi", "only_a", "only_b",
           "test", "p", "p_holm"]  # fmt: skip


@dataclass(frozen=True)
class Outcomes:
    """Which images of one set a model gets right."""

    index: np.ndarray  # [n]
    label: np.ndarray  # [n]
    correct: np.ndarray  # [n] bool of one seed, int8 or the mean over seeds once they are merged

    def same_images(self, other: "Outcomes") -> bool:
        pairs = ((self.index, other.index), (self.label, other.label))
        return all(one is two or np.array_equal(one, two) for one, two in pairs)


@dataclass(frozen=True)
class PairedSet:
    """Two models, a and b, on the same images of one set."""

    a: np.ndarray  # [n] as `Outcomes.correct`
    b: np.ndarray
    difference: np.ndarray  # a - b
    means: np.ndarray  # bootstrap means of the difference


BySet = dict[str, Outcomes]


def paired(cells: list[Cell], labels: Labels, scopes: Scopes) -> pd.DataFrame:
    """All pairs of models of one backbone, per set and per mean."""
    lines: list[dict] = []
    for table, models in _tables(cells, labels).items():
        means = scopes[table.condition]
        for a, b in itertools.combinations(models, 2):
            pairs = _paired_sets(a, b, models[a], models[b], table)
            lines += [table._asdict() | {"a": a, "b": b} | line for line in _lines(pairs, means)]
    frame = pd.DataFrame(lines, columns=COLUMNS)
    for _, family in frame.groupby(FAMILY, sort=False):
        frame.loc[family.index, "p_holm"] = holm(family["p"].tolist())
    return frame


def _tables(cells: Iterable[Cell], labels: Labels) -> dict[Table, dict[str, BySet]]:
    """table -> model -> set -> its outcomes, averaged over seeds."""
    tables: dict[Table, dict[str, dict[str, dict[int, Outcomes]]]] = {}
    for cell in cells:
        for table, correct in (
            (Table(cell.protocol, cell.backbone, "robust", cell.attack, cell.eps), cell.robust),
            (Table(cell.protocol, cell.backbone, "clean", "", "0"), cell.right),
        ):
            models = tables.setdefault(table, {})
            seeds = models.setdefault(labels[cell.model], {}).setdefault(cell.dataset, {})
            if cell.seed not in seeds or len(seeds[cell.seed].index) < len(cell.index):  # clean: of the largest cell
                seeds[cell.seed] = Outcomes(cell.index, cell.label, correct)
    return {
        table: {
            model: {name: merged for name, seeds in sets.items() if (merged := _over_seeds(list(seeds.values())))}
            for model, sets in models.items()
        }
        for table, models in tables.items()
    }


def _over_seeds(seeds: list[Outcomes]) -> Outcomes | None:
    """The mean over seeds; None where they saw different images, which leaves nothing to pair."""
    first = seeds[0]
    if any(seed.index is not first.index and not np.array_equal(seed.index, first.index) for seed in seeds[1:]):
        return None
    if len(seeds) == 1:
        return Outcomes(first.index, first.label, first.correct.astype(np.int8))
    return Outcomes(first.index, first.label, np.mean([seed.correct for seed in seeds], axis=0))


def _paired_sets(a: str, b: str, of_a: BySet, of_b: BySet, table: Table) -> dict[str, PairedSet]:
    """The sets on which both models saw the same images.

    Bootstrap draws are keyed by what is compared, so a further model or set in the config moves no interval of a pair.
    """
    pairs = {}
    for name, one in of_a.items():
        other = of_b.get(name)
        if other is not None and one.same_images(other):
            difference = one.correct - other.correct
            key = zlib.crc32(f"{table._asdict()}|{a}|{b}|{name}".encode())
            draws = bootstrap_means(difference, np.random.default_rng(key))
            pairs[name] = PairedSet(one.correct, other.correct, difference, draws)
    return pairs


def _lines(pairs: dict[str, PairedSet], means: dict[str, list[str]]) -> Iterator[dict]:
    """The comparison on each set, then on each mean whose sets are all there."""
    for name, pair in pairs.items():
        yield {"scope": "set", "dataset": name} | _compare([pair])
    for scope, names in means.items():
        if names and all(name in pairs for name in names):
            yield {"scope": scope, "dataset": ""} | _compare([pairs[name] for name in names])


def _compare(pairs: list[PairedSet]) -> dict:
    """The difference of two models, as the mean over some sets."""
    differences = [pair.difference for pair in pairs]
    lo, hi = percentile_interval(np.mean([pair.means for pair in pairs], axis=0))
    test, p = paired_test(differences)
    return {
        "n": sum(len(d) for d in differences),
        "share_a": float(np.mean([pair.a.mean() for pair in pairs])),
        "share_b": float(np.mean([pair.b.mean() for pair in pairs])),
        "difference": float(np.mean([d.mean() for d in differences])),
        "lo": lo,
        "hi": hi,
        "only_a": sum(int((d > 0).sum()) for d in differences),
        "only_b": sum(int((d < 0).sum()) for d in differences),
        "test": test,
        "p": p,
    }


class Marks:
    """Looks up, per column, the best model and the models that the paired test cannot tell from it."""

    def __init__(self, pairs: pd.DataFrame) -> None:
        self._p: dict[Column, dict[tuple[str, str], float]] = defaultdict(dict)
        for *column, a, b, p in pairs[[*Column._fields, "a", "b", "p_holm"]].itertuples(index=False, name=None):
            of_column = self._p[Column(*column)]
            of_column[a, b] = of_column[b, a] = p

    def mark(self, column: Column, shares: dict[str, float], bounds: dict[str, tuple[float, float]]) -> dict[str, str]:
        """model -> 'best', 'tie' or ''. Without a paired test (other images), overlapping intervals tie."""
        shares = {model: share for model, share in shares.items() if not np.isnan(share)}
        if len(set(shares.values())) < 2:  # of equals, at 0 % say, none is best
            return dict.fromkeys(shares, "")
        best = max(shares.values())
        leader = next(model for model, share in shares.items() if share == best)
        leaders_low, _ = bounds[leader]
        tests = self._p.get(column, {})
        result = {}
        for model, share in shares.items():
            p = tests.get((leader, model))
            _, high = bounds[model]
            untold = p >= LEVEL if p is not None else high >= leaders_low
            result[model] = "best" if share == best else "tie" if untold else ""
        return result
