"""Which differences between models are more than chance: all pairs of one backbone, on the same images.

A column of the report is one (attack, ε) on one set, or one mean over sets. Within a column the best model is marked,
and with it every model that the paired test cannot tell from it after Holm's correction over the whole table.
"""

import itertools
import zlib
from collections.abc import Iterable

import numpy as np
import pandas as pd

from zsr.report.tables.cells import Measured
from zsr.report.tables.statistics import bootstrap_means, holm, paired_test, percentile_interval

LEVEL = 0.05
FAMILY = ["protocol", "backbone", "quantity", "attack", "eps", "scope"]  # one table: its tests are corrected together
COLUMNS = [*FAMILY, "dataset", "a", "b", "n", "share_a", "share_b", "difference", "lo", "hi", "only_a", "only_b",
           "test", "p", "p_holm"]  # fmt: skip


def paired(cells: list[Measured], labels: dict[tuple, str], scopes: dict[tuple, dict[str, list[str]]]) -> pd.DataFrame:
    """All pairs of models of one backbone, per set and per mean.

    `labels`: group -> its name in the report. `scopes`: (protocol, attack, eps) -> {'zero-shot': [sets], …}.
    """
    lines: list[dict] = []
    for (protocol, backbone, quantity, attack, eps), column in _columns(cells, labels).items():
        table = {"protocol": protocol, "backbone": backbone, "quantity": quantity, "attack": attack, "eps": eps}
        means = scopes[(protocol, attack, eps)] if quantity == "robust" else scopes[(protocol, "", "0")]
        for a, b in itertools.combinations(column, 2):
            lines += [table | line for line in _pair(a, b, column[a], column[b], means, str(table))]
    frame = pd.DataFrame(lines, columns=COLUMNS)
    for _, family in frame.groupby(FAMILY, sort=False):
        frame.loc[family.index, "p_holm"] = holm(family["p"].tolist())
    return frame


def _columns(cells: Iterable[Measured], labels: dict[tuple, str]) -> dict[tuple, dict[str, dict[str, tuple]]]:
    """(protocol, backbone, quantity, attack, eps) -> model -> set -> (index, label, verdicts averaged over seeds)."""
    gathered: dict[tuple, dict[str, dict[str, dict[int, tuple]]]] = {}
    for cell in cells:
        for quantity, attack, eps, verdicts in (
            ("robust", cell.attack, cell.eps, cell.robust),
            ("clean", "", "0", cell.right),
        ):
            key = (cell.protocol, cell.backbone, quantity, attack, eps)
            sets = gathered.setdefault(key, {}).setdefault(labels[cell.group], {})
            seeds = sets.setdefault(cell.dataset, {})
            if cell.seed not in seeds or len(seeds[cell.seed][0]) < len(cell.index):  # clean: the largest cell speaks
                seeds[cell.seed] = (cell.index, cell.label, verdicts)
    return {
        key: {
            model: {name: merged for name, seeds in sets.items() if (merged := _over_seeds(list(seeds.values())))}
            for model, sets in models.items()
        }
        for key, models in gathered.items()
    }


def _over_seeds(seeds: list[tuple]) -> tuple | None:
    index, label, first = seeds[0]
    if any(other is not index and not np.array_equal(other, index) for other, _, _ in seeds[1:]):
        return None  # seeds saw different images: nothing to pair
    if len(seeds) == 1:
        return index, label, first.astype(np.int8)
    return index, label, np.mean([verdicts for _, _, verdicts in seeds], axis=0)


def _pair(a: str, b: str, ours: dict, theirs: dict, means: dict[str, list[str]], key: str) -> Iterable[dict]:
    names = [name for name in ours if name in theirs and _same_images(ours[name], theirs[name])]
    differences = {name: ours[name][2] - theirs[name][2] for name in names}
    # keyed by what is compared: a further model or set in the config moves no interval of this pair
    draws = {
        name: bootstrap_means(d, np.random.default_rng(zlib.crc32(f"{key}|{a}|{b}|{name}".encode())))
        for name, d in differences.items()
    }
    for name in names:
        yield _line(a, b, "set", name, [name], ours, theirs, differences, draws)
    for scope, members in means.items():
        if len(members) > 0 and all(name in differences for name in members):
            yield _line(a, b, scope, "", members, ours, theirs, differences, draws)


def _same_images(one: tuple, other: tuple) -> bool:
    return all(x is y or np.array_equal(x, y) for x, y in zip(one[:2], other[:2], strict=True))


def _line(a: str, b: str, scope: str, dataset: str, members: list[str], ours: dict, theirs: dict, differences: dict,
          draws: dict) -> dict:  # fmt: skip
    chosen = [differences[name] for name in members]
    lo, hi = percentile_interval(np.mean([draws[name] for name in members], axis=0))
    test, p = paired_test(chosen)
    return {
        "scope": scope,
        "dataset": dataset,
        "a": a,
        "b": b,
        "n": sum(len(d) for d in chosen),
        "share_a": float(np.mean([ours[name][2].mean() for name in members])),
        "share_b": float(np.mean([theirs[name][2].mean() for name in members])),
        "difference": float(np.mean([d.mean() for d in chosen])),
        "lo": lo,
        "hi": hi,
        "only_a": sum(int((d > 0).sum()) for d in chosen),
        "only_b": sum(int((d < 0).sum()) for d in chosen),
        "test": test,
        "p": p,
    }


class Marks:
    """Looks up, per column, the best model and the models that the paired test cannot tell from it."""

    def __init__(self, pairs: pd.DataFrame) -> None:
        columns = [*FAMILY, "dataset", "a", "b", "p_holm"]
        self._p: dict[tuple, float] = {}
        for *key, a, b, p in pairs[columns].itertuples(index=False, name=None):
            self._p[(*key, a, b)] = self._p[(*key, b, a)] = p

    def mark(self, key: tuple, shares: dict[str, float], bounds: dict[str, tuple[float, float]]) -> dict[str, str]:
        """model -> 'best', 'tie' or ''. Without a paired test (other images), overlapping intervals tie."""
        shares = {model: share for model, share in shares.items() if not np.isnan(share)}
        if len(set(shares.values())) < 2:  # of equals, at 0 % say, none is best
            return dict.fromkeys(shares, "")
        best = max(shares.values())
        leader = next(model for model, share in shares.items() if share == best)
        result = {}
        for model, share in shares.items():
            p = self._p.get((*key, leader, model))
            untold = p >= LEVEL if p is not None else bounds[model][1] >= bounds[leader][0]
            result[model] = "best" if share == best else "tie" if untold else ""
        return result
