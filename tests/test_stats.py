"""Means and intervals of differences against SciPy's."""

import numpy as np
import pytest
from scipy import stats

from normexp.stats import mean_std, paired_difference, welch_difference


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


def test_intervals_match_published_t_tables():
    """Two-sided 95 % points (Student 1908): 12.706, 4.303, 2.776 with 1, 2 and 4 degrees of freedom."""
    for n, t in ((2, 12.706), (3, 4.303), (5, 2.776)):
        values = np.arange(n, dtype=float)
        _, half = paired_difference([0.0] * n, values.tolist())
        assert half == pytest.approx(t * values.std(ddof=1) / n**0.5, rel=3e-4)


@pytest.mark.parametrize("scale", [1e-300, 1e-14, 1.0, 1e300])
def test_means_do_not_depend_on_the_unit(scale):
    values = [1.0, 2.0, 4.0]
    mean, std = mean_std([scale * value for value in values])
    assert (mean / scale, std / scale) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert mean_std([]) == (None, None)
    assert mean_std([scale]) == (scale, None)
