"""Intervals and tests against scipy, against enumeration, and against what they promise."""

import itertools
import math
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from zsr.report import percent
from zsr.report.tables import statistics as s


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


def test_the_paired_test_is_mcnemars_for_sets_of_one_size():
    d = [np.array([1, 0, 0, -1, 1]), np.array([1, 1, 0, 0, 1])]
    assert s.paired_test(d) == ("McNemar, exact", s.mcnemar(5, 1))
    agreeing = [part.astype(float) for part in d]  # seeds that all agree
    assert s.paired_test(agreeing) == ("McNemar, exact", s.mcnemar(5, 1))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("sizes", [(7, 10), (30, 40), (80, 60)])
def test_signs_are_flipped_one_by_one_where_few_images_differ(seed, sizes):
    generator = np.random.default_rng(seed)
    most = 16 / sum(sizes)
    sets = [generator.choice([-1, 0.5, 1, 0], n, p=[*np.array([0.1, 0.2, 0.5]) * most, 1 - 0.8 * most]) for n in sizes]
    total = sum(d.sum() / len(d) for d in sets)
    weights = np.concatenate([np.abs(d[d != 0]) / len(d) for d in sets])
    flips = np.array(list(itertools.product((-1, 1), repeat=len(weights))))
    exact = float((np.abs(flips @ weights) >= abs(total) - 1e-12).mean())
    name, p = s.paired_test(sets)
    if len(weights) <= s.EXACT:
        assert (name, p) == ("sign flip, exact", pytest.approx(exact, rel=1e-12))
    else:
        assert (name, p) == ("sign flip, normal", pytest.approx(exact, abs=0.02))


def test_four_images_that_differ_decide_nothing():
    assert s.paired_test([np.array([1, 1, 0]), np.array([1, 0, 0, 1])]) == ("sign flip, exact", 0.125)
    assert s.paired_test([np.zeros(3), np.zeros(5)]) == ("sign flip, exact", 1.0)


def test_sign_flip_over_seeds_is_honest_under_the_null():
    generator = np.random.default_rng(1)
    p = [
        s.paired_test([generator.choice([-1, -0.5, 0, 0.5, 1], 90), generator.choice([-0.5, 0, 0.5], 60)])[1]
        for _ in range(1500)
    ]
    assert 0.03 <= np.mean(np.array(p) < 0.05) <= 0.07


@pytest.mark.parametrize("share", [0.304479, 0.30447915, 0.0004999, 0.99944999, 1 / 3, 0.8525, 0.0005, 1.0, 0.0])
def test_a_share_is_rounded_once(share):
    once = Decimal(str(100 * share)).quantize(Decimal("0.1"), ROUND_HALF_UP)
    assert percent.fixed(percent.percent(share)) == str(once) and percent.shown(share) == float(once)


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
