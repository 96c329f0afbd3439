"""Intervals and effect sizes over seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ERROR = 0.05
"""The chance, for a claim as a whole, that an interval of its deciding cells misses what it is of."""


@dataclass(frozen=True)
class Interval:
    """effect_size: the mean over the standard deviation (Cohen's d of paired values); None where they don't vary, or there is
    but one of them. low, high: infinite for a single one, which says nothing about the others."""

    mean: float
    low: float
    high: float
    effect_size: float | None


def interval(values: Floats, level: float) -> Interval:
    """Student's t interval (1908) of the mean of paired effects, one a seed.

    Not a bootstrap: with three to five values that resamples the same few numbers, and is far too narrow.
    """
    from scipy import stats

    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, -math.inf, math.inf, None)
    std = float(values.std(ddof=1))
    if std <= 1e-12 * float(np.abs(values).max()):  # all the same except for rounding
        return Interval(mean, mean, mean, None)
    half = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * std / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half, mean / std)


def corrected(cells: int) -> float:
    """The level of each of several intervals, so that together they miss no more often than ERROR (Bonferroni)."""
    return 1 - ERROR / max(1, cells)


def ranks(one: Floats, other: Floats) -> float:
    """Spearman's rank correlation; NaN where one of the two is constant or not defined."""
    from scipy import stats

    if not (np.isfinite(one).all() and np.isfinite(other).all()) or np.ptp(one) == 0 or np.ptp(other) == 0:
        return math.nan
    return float(stats.spearmanr(one, other).statistic)
