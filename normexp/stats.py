"""Statistics over seeds: means, and confidence intervals of differences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

CONFIDENCE = 0.95
"""Confidence level of the intervals of single differences."""


def mean_std(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation (n - 1); None if there are too few values."""
    if len(values) < 2:
        return (values[0] if values else None), None
    scale = max(map(abs, values)) or 1.0  # sums of values near the largest float would overflow
    scaled = [value / scale for value in values]
    return statistics.fmean(scaled) * scale, statistics.stdev(scaled) * scale


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


def _t_quantile(freedom: float, level: float) -> float:
    """Two-sided quantile of Student's t."""
    from scipy.special import stdtrit  # imports faster than scipy.stats

    return float(stdtrit(freedom, (1 + level) / 2))
