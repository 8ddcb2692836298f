"""Do two sets of results rank methods alike? Kendall's τ-b of the models that both have, over their zero-shot means.

    python benchmarks/ranking.py results/real:lit:zero-shot:pgd-20:1/255 results:vit:zero-shot:pgd-20:4/255
    python benchmarks/ranking.py A B --without clip ce          # only the models that are left
    python benchmarks/ranking.py A B --quantity clean

A side is FOLDER:BACKBONE:PROTOCOL:ATTACK:EPS; models are matched by name, and one that lacks a set has no mean. τ is 1
when both sides order every pair of models alike and -1 when they order every pair the other way round.

Two 95 % intervals, percentiles of 4,000 draws. *images*: these models on other images of the same sets, drawn with
replacement, for all models the same. *models*: other models as well, drawn with replacement from these. Noise moves
both towards zero: two noisy rankings of one truth agree less than it does with itself.

Then what needs no τ: of the pairs that the paired test tells apart on both sides (`tables/paired.csv`, Holm), how many
have the same order.
"""

import argparse
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from zsr.errors import ZsrError
from zsr.report.tables.comparisons import LEVEL
from zsr.storage import layout
from zsr.storage.records import read_record
from zsr.storage.rows import read_rows

DRAWS = 4000
COLUMN = ("backbone", "protocol", "attack", "eps")


@dataclass(frozen=True)
class Side:
    """One column of one report, with the verdict of every model on every image of its zero-shot sets."""

    verdicts: dict[str, dict[str, np.ndarray]]  # model -> set -> [n], a mean over seeds
    pairs: pd.DataFrame  # its lines of tables/paired.csv

    def means(self, models: list[str]) -> np.ndarray:
        """The mean over the sets of each model."""
        means = [np.mean([rows.mean() for rows in self.verdicts[model].values()]) for model in models]
        return np.round(means, 12)  # equal counts are equal means

    def resampled(self, models: list[str], rng: np.random.Generator, draws: int) -> np.ndarray:
        """The same means of other images, as many of each set -> [draws, models]."""
        sets = list(self.verdicts[models[0]])
        total = np.zeros((draws, len(models)))
        for name in sets:
            rows = np.stack([self.verdicts[model][name] for model in models], axis=1)
            n = len(rows)
            total += rng.multinomial(n, np.full(n, 1 / n), size=draws) @ rows / n
        return np.round(total / len(sets), 12)

    def decided(self, models: list[str]) -> dict[tuple[str, str], float]:
        """(a, b) -> the sign of a - b, of the pairs that the paired test tells apart."""
        lines = self.pairs[self.pairs["p_holm"] < LEVEL]
        sign = {(a, b): np.sign(d) for a, b, d in zip(lines["a"], lines["b"], lines["difference"], strict=True)}
        sign |= {(b, a): -s for (a, b), s in sign.items()}
        return {pair: sign[pair] for pair in itertools.combinations(models, 2) if pair in sign}


def read(place: str, quantity: str) -> Side:
    """The side that FOLDER:BACKBONE:PROTOCOL:ATTACK:EPS names."""
    folder, *wanted = place.rsplit(":", len(COLUMN))
    if len(wanted) != len(COLUMN):
        raise ZsrError(f"'{place}': a side is FOLDER:BACKBONE:PROTOCOL:ATTACK:EPS")
    tables = Path(folder) / "tables"
    if not (tables / "cells.csv").exists():
        raise ZsrError(f"'{place}': there are no tables in '{folder}'; run snakemake")
    cells = pd.read_csv(tables / "cells.csv", dtype={"eps": str})
    cells["attack"] = cells["attack"].str.partition(" (")[0]  # the marks of what was chained are no part of the name
    cells = cells[~cells["is_source"]]
    for column, value in zip(COLUMN, wanted, strict=True):
        known = ", ".join(dict.fromkeys(cells[column]))
        cells = cells[cells[column] == value]
        if cells.empty:
            raise ZsrError(f"'{place}': no {column} '{value}', there are {known}")
    verdicts: dict[str, dict[str, np.ndarray]] = {}
    for (model, dataset), seeds in cells.groupby(["model", "dataset"], sort=False):
        rows = [_verdicts(Path(folder), cell, quantity) for cell in seeds.itertuples()]
        verdicts.setdefault(model, {})[dataset] = np.mean(rows, axis=0)
    most = max(len(sets) for sets in verdicts.values())
    verdicts = {model: sets for model, sets in verdicts.items() if len(sets) == most}
    return Side(verdicts, _pairs(tables / "paired.csv", wanted, quantity))


def _verdicts(folder: Path, cell, quantity: str) -> np.ndarray:
    where = {"protocol": cell.protocol, "model": cell.id, "dataset": cell.dataset, "attack": cell.attack}
    path = folder / layout.OUTPUTS["evaluate"]["record"].format(**where, eps=cell.eps.replace("/", "_"))
    record = read_record(path, cell.spec_hash)
    rows = read_rows(path.with_suffix(".parquet"), record["digests"]["rows"]).to_pandas().sort_values("index")
    right = rows["robust"] if quantity == "robust" else rows["clean"] == rows["label"]
    return right.to_numpy(dtype=float)


def _pairs(path: Path, wanted: list[str], quantity: str) -> pd.DataFrame:
    lines = pd.read_csv(path, dtype={"eps": str}, keep_default_na=False)
    backbone, protocol, attack, eps = wanted
    lines["attack"] = lines["attack"].str.partition(" (")[0]
    at = (attack, eps) if quantity == "robust" else ("", "0")
    chosen = {"backbone": backbone, "protocol": protocol, "quantity": quantity, "attack": at[0], "eps": at[1],
              "scope": "zero-shot"}  # fmt: skip
    return lines[np.logical_and.reduce([lines[column] == value for column, value in chosen.items()])]


def tau(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Kendall's τ-b along the last axis (Kendall 1945): Σ s·t / √(Σ s² Σ t²), where s and t are the signs of a pair.

    NaN where a side ties every pair.
    """
    i, j = np.triu_indices(a.shape[-1], 1)
    s, t = (np.sign(x[..., i] - x[..., j]) for x in (a, b))
    with np.errstate(invalid="ignore"):
        return (s * t).sum(-1) / np.sqrt((s * s).sum(-1) * (t * t).sum(-1))


def intervals(a: Side, b: Side, models: list[str], seed: int = 0, draws: int = DRAWS) -> dict[str, tuple[float, float]]:
    """The two 95 % intervals of τ."""
    rng = np.random.default_rng(seed)
    ours, theirs = (side.resampled(models, rng, draws) for side in (a, b))
    chosen = rng.integers(len(models), size=(draws, len(models)))
    others = (np.take_along_axis(means, chosen, axis=1) for means in (ours, theirs))
    found = {"images": tau(ours, theirs), "models": tau(*others)}
    return {name: tuple(np.nanquantile(values, [0.025, 0.975])) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sides", nargs=2, metavar="FOLDER:BACKBONE:PROTOCOL:ATTACK:EPS")
    parser.add_argument("--quantity", choices=("robust", "clean"), default="robust")
    parser.add_argument("--without", nargs="*", default=[], metavar="MODEL", help="models that are left out")
    given = parser.parse_args()
    a, b = (read(place, given.quantity) for place in given.sides)
    models = [m for m in a.verdicts if m in b.verdicts and m not in given.without]
    if len(models) < 3:
        raise ZsrError(f"both sides have {len(models)} models in common; a ranking needs three")
    ours, theirs = a.means(models), b.means(models)
    bounds = intervals(a, b, models)
    print("| model | first | second | rank of first | rank of second |\n|---|---|---|---|---|")
    ranks = [pd.Series(-means).rank(method="min").astype(int) for means in (ours, theirs)]
    for k in np.argsort(-ours, kind="stable"):
        print(f"| `{models[k]}` | {100 * ours[k]:.1f} | {100 * theirs[k]:.1f} | {ranks[0][k]} | {ranks[1][k]} |")
    said = ", ".join(f"{name} [{lo:.2f}, {hi:.2f}]" for name, (lo, hi) in bounds.items())
    print(f"\nτ-b {tau(ours, theirs):.2f} over {len(models)} models; 95 %: {said}")
    one, other = a.decided(models), b.decided(models)
    both = [pair for pair in one if pair in other]
    alike = [pair for pair in both if one[pair] == other[pair]]
    total = len(models) * (len(models) - 1) // 2
    print(f"pairs: {total}; decided by the first {len(one)}, by the second {len(other)}, by both {len(both)}, "
          f"of these {len(alike)} in the same order")  # fmt: skip
    for x, y in both:
        if (x, y) not in alike:
            print(f"  against each other: {x} and {y}")


if __name__ == "__main__":
    try:
        main()
    except ZsrError as error:
        sys.exit(f"ranking: {error}")
