"""Intervals, corrections and rank correlations against SciPy's own and against how often they hold."""

import numpy as np
import pytest
from scipy import stats

from normexp.claims.intervals import ERROR, corrected, interval, ranks
from normexp.claims.judge import holds
from normexp.claims.page_forest import _limits
from normexp.claims.schema import Condition, Measure


@pytest.mark.parametrize("n", [2, 3, 5, 20])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.9979])
def test_intervals_are_students(n, level):
    values = np.random.default_rng(n).normal(0.3, 2.0, n)
    found = interval(values, level)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(level)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.effect_size == pytest.approx(values.mean() / np.std(values, ddof=1))


def test_a_table_of_students_t():
    """Two-sided 95 % points of Student 1908, as printed in textbooks: 12.706, 4.303, 2.776 with 1, 2 and 4 degrees of freedom."""
    for n, t in ((2, 12.706), (3, 4.303), (5, 2.776)):
        values = np.arange(n, dtype=float)
        found = interval(values, 0.95)
        assert found.high - found.mean == pytest.approx(t * values.std(ddof=1) / n**0.5, rel=3e-4)


def test_all_intervals_of_a_claim_hold_together_as_often_as_they_say():
    """Four cells of five seeds whose true effect is 0: in at most 5 % of 4,000 claims one of their intervals misses it."""
    generator, level = np.random.default_rng(0), corrected(4)
    missed = 0
    for cells in generator.normal(size=(4000, 4, 5)):
        missed += any(not found.low <= 0 <= found.high for found in (interval(cell, level) for cell in cells))
    assert missed / 4000 == pytest.approx(1 - (1 - ERROR / 4) ** 4, abs=0.012)


def test_rank_correlation_is_spearmans():
    one, other = np.array([3.0, 1.0, 2.0, 5.0]), np.array([30.0, 10.0, 50.0, 60.0])
    assert ranks(one, other) == pytest.approx(1 - 6 * (1 + 0 + 1 + 0) / (4 * 15))  # 1 - 6 sum d^2 / (n (n^2 - 1))


@pytest.mark.parametrize("scale", [1e-30, 1e-14, 1.0, 1e20])
def test_intervals_do_not_depend_on_the_unit(scale):
    """Vanishing gradients of 1e-14 have an interval too; numbers that differ by rounding alone have none, whatever their size."""
    found, usual = interval(scale * np.array([1.0, 2.0, 4.0]), 0.95), interval(np.array([1.0, 2.0, 4.0]), 0.95)
    assert (found.low, found.high) == pytest.approx((scale * usual.low, scale * usual.high), rel=1e-9)
    assert found.effect_size == pytest.approx(usual.effect_size)
    same = interval(scale * np.array([0.1 + 0.2, 0.3, 0.3]), 0.95)
    assert same.low == same.high == same.mean
    assert interval(np.zeros(3), 0.95).high == 0.0


@pytest.mark.parametrize("scale", [1e-14, 1.0, 1e14])
def test_rounding_at_a_margin_decides_nothing(scale):
    """0.4 - 0.3 is a little more than 0.1."""
    rule = {"what": "", "measure": Measure(tag="loss"), "compare": ("a",), "how": "value", "direction": "within"}
    condition = Condition(**rule, threshold=0.0, margin=0.1 * scale)
    effect = (0.4 - 0.3) * scale
    assert effect > condition.margin
    assert holds(condition, -effect, effect) == "confirmed"
    assert holds(condition, 1.001 * effect, 1.001 * effect) == "refuted"


def test_the_axis_of_a_forest_reaches_tiny_ratios():
    low, high, logarithmic = _limits([1e-12, 1e-10], [1e-13, 1e-11, 1e-9, 0.0], [1e-11], ratio=True)
    assert logarithmic
    assert low < 1e-13
    assert high > 1e-9
