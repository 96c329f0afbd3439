"""Reduce a metric along a sweep axis, such as to its value at the best learning rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from normexp.claims.schema import Reduction, Value

Floats = NDArray[np.float64]


def best_index(scores: Floats, *, lowest: bool = False) -> int | None:
    """Index of the axis value with the best mean score over seeds; None if no score is defined.

    scores: (values, seeds). One index for all seeds: the axis is tuned, not each run. NaN scores are the worst.
    """
    with np.errstate(invalid="ignore"):
        means = scores.mean(axis=1) * (-1 if lowest else 1)
    return None if np.isnan(means).all() else int(np.nanargmax(means))


def reduce_axis(reduction: Reduction, metric: Floats, axis: tuple[Value, ...], *, working: float | None) -> Floats:
    """Reduce a metric of shape (values, seeds) along a sweep axis, to shape (seeds,).

    min, max, mean: of the metric. slope: of log(metric) over log(axis), by least squares.
    decades: log10 width of the widest unbroken band of axis values where metric >= working; 0 for a band of a single value or
    none, NaN if the metric is defined nowhere.
    largest: the largest axis value where metric >= working; NaN if there is none.
    best and gain need a second metric to choose by; see effects.py.
    """
    match reduction:
        case "min":
            return np.asarray(metric.min(axis=0))
        case "max":
            return np.asarray(metric.max(axis=0))
        case "mean":
            return np.asarray(metric.mean(axis=0))
    x = np.array(axis, dtype=np.float64)
    if reduction == "slope":
        with np.errstate(invalid="ignore", divide="ignore"):
            log_metric = np.log(np.where(metric > 0, metric, np.nan))
        centred = np.log(x) - np.log(x).mean()
        return np.asarray(centred @ log_metric / (centred @ centred))
    assert working is not None
    works = metric >= working  # False for NaN
    if reduction == "largest":
        largest = np.where(works, x[:, None], -np.inf).max(axis=0)
        return np.where(np.isfinite(largest), largest, np.nan)
    assert reduction == "decades"
    order = np.argsort(x)
    widths = [_widest_band(works[order, seed], x[order]) for seed in range(metric.shape[1])]
    return np.where(np.isnan(metric).all(axis=0), np.nan, widths)


def _widest_band(works: NDArray[np.bool], x: Floats) -> float:
    """log10(last / first) of the widest unbroken band. x: ascending."""
    widest, first = 0.0, None
    for value, good in zip(x, works, strict=True):
        if not good:
            first = None
        elif first is None:
            first = value
        else:
            widest = max(widest, float(np.log10(value / first)))
    return widest
