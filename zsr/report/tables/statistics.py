"""Intervals and tests for accuracies: Wilson, means over sets, McNemar, sign-flip and bootstrap on pairs, Holm.

Every number of the report is a share of images that were drawn from a larger population, and two methods are always
compared on the *same* images, so the tests are paired: what counts is on how many images they disagree. Accuracies are
fractions in [0, 1]. Nothing here knows of files, cells or methods.
"""

import math
from collections.abc import Sequence

import numpy as np

Z95 = 1.959963984540054  # two-sided 95 %
EXACT = 16  # images that differ, up to which all 2^m signs are tried: 0.3 ms


def wilson(share: float, n: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a share out of n images (Wilson 1927): honest at 0 and 1, where p ± z·se is empty.

    `share` may be a mean over seeds on the same n images; n stays the number of images, which errs on the wide side.
    """
    if n <= 0:
        return 0.0, 1.0
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def mean_interval(shares: Sequence[float], counts: Sequence[int]) -> tuple[float, float]:
    """Interval of the mean of independent shares with the sets fixed (square-and-add, Newcombe 1998; MOVER).

    lo = m - sqrt(Σ (p_s - l_s)²)/S, hi = m + sqrt(Σ (u_s - p_s)²)/S with the Wilson bounds l, u: for one set this is
    Wilson's interval itself.
    """
    size = len(shares)
    mean = sum(shares) / size
    bounds = [wilson(p, n) for p, n in zip(shares, counts, strict=True)]
    down = math.sqrt(sum((p - lo) ** 2 for p, (lo, _) in zip(shares, bounds, strict=True))) / size
    up = math.sqrt(sum((hi - p) ** 2 for p, (_, hi) in zip(shares, bounds, strict=True))) / size
    return max(0.0, mean - down), min(1.0, mean + up)


def deviation(values: Sequence[float]) -> float:
    """Standard deviation over seeds (n - 1); NaN for a single seed, which says nothing about spread."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided McNemar test: under H0 an image that one of two models alone gets right is a fair coin.

    p = min(1, 2·P[Bin(m, ½) ≤ min(b, c)]), m = b + c; summed in logarithms, so m may be a million.
    """
    m, k = only_a + only_b, min(only_a, only_b)
    if m == 0:
        return 1.0
    i = np.arange(k, dtype=np.float64)
    logs = np.concatenate([[0.0], np.cumsum(np.log((m - i) / (i + 1)))]) - m * math.log(2)  # log C(m, i)/2^m, i ≤ k
    top = logs.max()
    return min(1.0, 2 * math.exp(top) * float(np.exp(logs - top).sum()))


def paired_test(differences: Sequence[np.ndarray]) -> tuple[str, float]:
    """(name, two-sided p) of mean-over-sets(mean(d)) = 0 if each image's difference d may as well have the other sign.

    One array per set. Differences of -1, 0, 1 in sets of one size are McNemar's case on the pooled images. Otherwise
    (unequal sets, or d averaged over seeds) T = Σ_s Σ_i d/n_s is held against all signs that the images could have:
    each of them where few images differ, else by the normal law of variance Σ_s Σ_i d²/n_s², which says p = 0.046 where
    four images differ, all one way, and p is 0.125.
    """
    whole = all(np.isin(d, (-1, 0, 1)).all() for d in differences)
    if whole and len({len(d) for d in differences}) == 1:
        ups, downs = (sum(int((sign * d > 0).sum()) for d in differences) for sign in (1, -1))
        return "McNemar, exact", mcnemar(ups, downs)
    parts = np.concatenate([d[d != 0] / len(d) for d in differences])
    if len(parts) <= EXACT:
        return "sign flip, exact", sign_flip(parts)
    return "sign flip, normal", math.erfc(abs(float(parts.sum())) / math.sqrt(2 * float((parts * parts).sum())))


def sign_flip(parts: np.ndarray) -> float:
    """The share of all choices of signs for which |Σ ±parts| is at least |Σ parts|."""
    sums = np.zeros(1)
    for size in np.abs(parts[1:]):
        sums = np.concatenate([sums + size, sums - size])
    if len(parts):
        sums = sums + abs(parts[0])  # the other half of the choices has the same sizes
    return float((np.abs(sums) >= abs(parts.sum()) - 1e-12).mean())


def bootstrap_means(difference: np.ndarray, generator: np.random.Generator, draws: int = 2000) -> np.ndarray:
    """`draws` means of the resampled paired differences of one set -> [draws].

    Few distinct differences occur (three for one seed), so one multinomial draw of their counts replaces resampling n
    images: it costs the same for 100 images as for 50,000.
    """
    values, counts = np.unique(difference, return_counts=True)
    n = len(difference)
    return generator.multinomial(n, counts / n, size=draws) @ values / n


def percentile_interval(means: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile interval of bootstrap means."""
    lo, hi = np.quantile(means, [0.025, 0.975])
    return float(lo), float(hi)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): adjusted p, in the order given; controls the chance of any false claim."""
    order = np.argsort(p_values, kind="stable")
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, position in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * float(p_values[position])))
        adjusted[position] = worst
    return adjusted
