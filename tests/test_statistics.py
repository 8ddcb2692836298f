"""Intervals and tests against scipy, against enumeration, and against what they promise."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from zsr.report import statistics as s


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (3, 10), (37, 400), (9999, 10000)])
def test_wilson_is_scipys(k, n):
    expected = binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert s.wilson(k / n, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_has_width(kn):
    k, n = kn
    lo, hi = s.wilson(k / n, n)
    assert 0 <= lo <= k / n <= hi <= 1
    assert hi - lo > 0


def test_mean_interval_of_one_set_is_wilson_and_shrinks_with_sets():
    assert s.mean_interval([0.3], [200]) == pytest.approx(s.wilson(0.3, 200))
    one, four = s.mean_interval([0.3], [200]), s.mean_interval([0.3] * 4, [200] * 4)
    assert four[1] - four[0] == pytest.approx((one[1] - one[0]) / 2)


def test_mean_interval_covers():
    """Over many draws of three unequal sets the true mean lies inside in about 95 %."""
    generator, truth, counts = np.random.default_rng(0), np.array([0.02, 0.4, 0.9]), [50, 120, 300]
    inside = 0
    for _ in range(2000):
        lo, hi = s.mean_interval((generator.binomial(counts, truth) / counts).tolist(), counts)
        inside += lo <= truth.mean() <= hi
    assert 0.935 <= inside / 2000 <= 0.975


@pytest.mark.parametrize(("b", "c"), [(0, 0), (0, 1), (5, 5), (3, 12), (40, 80), (0, 900), (5000, 5300)])
def test_mcnemar_is_the_exact_binomial_test(b, c):
    expected = binomtest(b, b + c).pvalue if b + c else 1.0
    assert s.mcnemar(b, c) == pytest.approx(expected, rel=1e-9)
    assert s.mcnemar(b, c) == s.mcnemar(c, b)


def test_sign_flip_is_mcnemar_for_sets_of_one_size():
    d = [np.array([1, 0, 0, -1, 1]), np.array([1, 1, 0, 0, 1])]
    assert s.sign_flip(d) == s.mcnemar(5, 1)


def test_sign_flip_agrees_with_enumeration_for_unequal_sets():
    generator = np.random.default_rng(3)
    sets = [generator.choice([-1, 0, 1], 7, p=[0.2, 0.2, 0.6]), generator.choice([-1, 0, 1], 10, p=[0.2, 0.2, 0.6])]
    total = sum(d.sum() / len(d) for d in sets)
    weights = np.concatenate([np.full(int((d != 0).sum()), 1 / len(d)) for d in sets])
    flips = np.array(list(itertools.product((-1, 1), repeat=len(weights))))
    exact = float((np.abs(flips @ weights) >= abs(total) - 1e-12).mean())
    assert s.sign_flip(sets) == pytest.approx(exact, abs=0.05)
    assert s.sign_flip([np.zeros(3), np.zeros(5)]) == 1.0


def test_sign_flip_over_seeds_is_honest_under_the_null():
    generator = np.random.default_rng(1)
    p = [
        s.sign_flip([generator.choice([-1, -0.5, 0, 0.5, 1], 90), generator.choice([-0.5, 0, 0.5], 60)])
        for _ in range(1500)
    ]
    assert 0.03 <= np.mean(np.array(p) < 0.05) <= 0.07


def test_bootstrap_means_have_the_right_centre_and_spread():
    d = np.array([1] * 30 + [0] * 60 + [-1] * 10)
    means = s.bootstrap_means(d, np.random.default_rng(0), 20000)
    assert means.mean() == pytest.approx(d.mean(), abs=0.005)
    assert means.std() == pytest.approx(d.std() / math.sqrt(len(d)), rel=0.03)
    lo, hi = s.percentile_interval(means)
    assert lo < d.mean() < hi
    assert (s.bootstrap_means(d, np.random.default_rng(5)) == s.bootstrap_means(d, np.random.default_rng(5))).all()


def test_holm_by_hand():
    assert s.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert s.holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
@settings(deadline=None)
def test_holm_never_lowers_and_keeps_the_order(p):
    adjusted = s.holm(p)
    assert all(a >= q for a, q in zip(adjusted, p, strict=True))
    assert all(a <= 1 for a in adjusted)
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


def test_deviation_of_one_seed_is_unknown():
    assert math.isnan(s.deviation([0.5]))
    assert s.deviation([0.4, 0.6]) == pytest.approx(math.sqrt(0.02))
