"""Intervals, corrections and rank correlations against SciPy's and against their coverage."""

import numpy as np
import pytest
from scipy import stats

from normexp.stats import (
    FAMILY_ERROR,
    bonferroni_level,
    paired_difference,
    rank_correlation,
    t_interval,
    welch_difference,
)


@pytest.mark.parametrize("n", [2, 3, 5, 20])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.9979])
def test_intervals_match_scipy(n, level):
    values = np.random.default_rng(n).normal(0.3, 2.0, n)
    estimate = t_interval(values, level)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(level)
    assert (estimate.low, estimate.high) == pytest.approx((low, high))
    assert estimate.effect_size == pytest.approx(values.mean() / np.std(values, ddof=1))


def test_intervals_match_published_t_tables():
    """Two-sided 95 % points (Student 1908): 12.706, 4.303, 2.776 with 1, 2 and 4 degrees of freedom."""
    for n, t in ((2, 12.706), (3, 4.303), (5, 2.776)):
        values = np.arange(n, dtype=float)
        estimate = t_interval(values, 0.95)
        assert estimate.high - estimate.mean == pytest.approx(t * values.std(ddof=1) / n**0.5, rel=3e-4)


def test_intervals_of_differences_match_scipy():
    generator = np.random.default_rng(0)
    for a, b in [(generator.normal(size=n), 3 * generator.normal(size=m) + 1) for n, m in [(2, 2), (3, 5), (8, 4)]]:
        value, half = welch_difference(a.tolist(), b.tolist())
        low, high = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
        assert (value - half, value + half) == pytest.approx((low, high))
        size = min(len(a), len(b))
        value, half = paired_difference(a[:size].tolist(), b[:size].tolist())
        low, high = stats.ttest_rel(b[:size], a[:size]).confidence_interval(0.95)
        assert (value - half, value + half) == pytest.approx((low, high))
    assert paired_difference([0.5, 0.25], [0.75, 0.5]) == (0.25, 0.0)
    assert welch_difference([0.5, 0.5], [0.75, 0.75]) == (0.25, 0.0)


def test_family_wise_coverage():
    """Four cells of five seeds with a true effect of 0: some interval misses 0 in at most 5 % of 4,000 claims."""
    generator, level = np.random.default_rng(0), bonferroni_level(4)
    missed = 0
    for cells in generator.normal(size=(4000, 4, 5)):
        missed += any(
            not estimate.low <= 0 <= estimate.high for estimate in (t_interval(cell, level) for cell in cells)
        )
    assert missed / 4000 == pytest.approx(1 - (1 - FAMILY_ERROR / 4) ** 4, abs=0.012)


def test_rank_correlation_follows_the_formula():
    x, y = np.array([3.0, 1.0, 2.0, 5.0]), np.array([30.0, 10.0, 50.0, 60.0])
    assert rank_correlation(x, y) == pytest.approx(1 - 6 * (1 + 0 + 1 + 0) / (4 * 15))  # 1 - 6 sum d^2 / (n (n^2 - 1))


@pytest.mark.parametrize("scale", [1e-30, 1e-14, 1.0, 1e20])
def test_intervals_do_not_depend_on_the_unit(scale):
    """Gradients of 1e-14 have an interval too. Values that differ by rounding alone have none, at any scale."""
    estimate, usual = t_interval(scale * np.array([1.0, 2.0, 4.0]), 0.95), t_interval(np.array([1.0, 2.0, 4.0]), 0.95)
    assert (estimate.low, estimate.high) == pytest.approx((scale * usual.low, scale * usual.high), rel=1e-9)
    assert estimate.effect_size == pytest.approx(usual.effect_size)
    same = t_interval(scale * np.array([0.1 + 0.2, 0.3, 0.3]), 0.95)
    assert same.low == same.high == same.mean
    assert t_interval(np.zeros(3), 0.95).high == 0.0
