"""Statistics over seeds: means, confidence intervals, effect sizes and rank correlations."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONFIDENCE = 0.95
"""Confidence level of the intervals of single differences."""

FAMILY_ERROR = 0.05
"""Probability that any interval of a family misses its true effect (family-wise error rate)."""


@dataclass(frozen=True)
class Interval:
    """Confidence interval of a mean.

    low, high: infinite for a single value. effect_size: mean / standard deviation (Cohen's d of paired values); None for a
    single value and for equal values.
    """

    mean: float
    low: float
    high: float
    effect_size: float | None


def mean_std(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation (n - 1); None if there are too few values."""
    if len(values) < 2:
        return (values[0] if values else None), None
    scale = max(map(abs, values)) or 1.0  # sums of values near the largest float would overflow
    scaled = [value / scale for value in values]
    return statistics.fmean(scaled) * scale, statistics.stdev(scaled) * scale


def t_interval(values: NDArray[np.float64], level: float) -> Interval:
    """Student's t interval (1908) of the mean of paired effects, (seeds,).

    Not a bootstrap: with three to five values it resamples the same few numbers, and its interval is far too narrow.
    """
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, -math.inf, math.inf, None)
    std = float(values.std(ddof=1))
    if std <= 1e-12 * float(abs(values).max()):  # equal up to rounding
        return Interval(mean, mean, mean, None)
    half = _t_quantile(len(values) - 1, level) * std / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half, mean / std)


def paired_difference(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Mean of b - a over pairs, and half the width of its confidence interval (Student 1908). Needs two pairs."""
    mean, std = mean_std([y - x for x, y in zip(a, b, strict=True)])
    assert mean is not None and std is not None
    return mean, _t_quantile(len(a) - 1, CONFIDENCE) * std / math.sqrt(len(a))


def welch_difference(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Difference b - a of the means of independent samples, and half the width of its confidence interval (Welch 1947).

    Needs two values of each.
    """
    (mean_a, std_a), (mean_b, std_b) = mean_std(a), mean_std(b)
    assert mean_a is not None and mean_b is not None and std_a is not None and std_b is not None
    variances = [std_a**2 / len(a), std_b**2 / len(b)]
    total = sum(variances)
    if total == 0:
        return mean_b - mean_a, 0.0
    freedom = 1 / sum((v / total) ** 2 / (len(x) - 1) for v, x in zip(variances, (a, b), strict=True))
    return mean_b - mean_a, _t_quantile(freedom, CONFIDENCE) * math.sqrt(total)


def bonferroni_level(intervals: int) -> float:
    """Confidence level of each of several intervals that keeps their family-wise error at FAMILY_ERROR (Bonferroni)."""
    return 1 - FAMILY_ERROR / max(1, intervals)


def rank_correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Spearman's rank correlation; NaN if x or y is constant or not finite."""
    import numpy as np
    from scipy import stats

    if not (np.isfinite(x).all() and np.isfinite(y).all()) or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(stats.spearmanr(x, y).statistic)


def _t_quantile(freedom: float, level: float) -> float:
    """Two-sided quantile of Student's t."""
    from scipy.special import stdtrit  # imports faster than scipy.stats

    return float(stdtrit(freedom, (1 + level) / 2))
