"""The effect of a condition, one number per seed: metrics of the arms, reduced along an axis and compared."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from normexp.claims.schema import Claim, Condition, Measure, Point, Reduction, Value, format_point
from normexp.stats import rank_correlation

Floats = NDArray[np.float64]

Measured = Callable[[Measure, str, Point, int], float]
"""Maps (measure, arm, value of each axis, seed) to the number of that run; NaN if it is not defined."""


@dataclass(frozen=True)
class Effects:
    """Effects of one cell.

    by_seed: (seeds,), log ratios for ratios; NaN where not defined. values: (seeds,) by arm, the numbers that were compared.
    chosen: by arm, the axis value chosen on validation data.
    """

    by_seed: Floats
    values: dict[str, Floats]
    chosen: dict[str, dict[str, Value]]


def effects(condition: Condition, claim: Claim, cell: Point, measured: Measured) -> Effects:
    """Compute the effects of a condition in one cell, for all seeds of the claim."""
    if condition.contrast is None:
        return _compare(condition, claim, cell, measured)
    axis, *values = condition.contrast
    sides = [(format_point({axis: v}), _compare(condition, claim, {**cell, axis: v}, measured)) for v in values]
    return Effects(
        sides[0][1].by_seed - sides[1][1].by_seed,
        {f"{arm}, {label}": numbers for label, side in sides for arm, numbers in side.values.items()},
        {f"{arm}, {label}": chosen for label, side in sides for arm, chosen in side.chosen.items()},
    )


def _compare(condition: Condition, claim: Claim, point: Point, measured: Measured) -> Effects:
    arms = condition.arms or ("",)
    reduce = partial(_reduce, condition, claim, measured, point=point)
    reduced = {arm: reduce(measure=condition.measure, arm=arm) for arm in arms}
    values = {arm: numbers for arm, (numbers, _) in reduced.items()}
    chosen = {arm: setting for arm, (_, setting) in reduced.items() if setting}
    match condition.comparison:
        case "difference":
            by_seed = values[arms[0]] - values[arms[1]]
        case "ratio":
            numerator, denominator = (np.where(values[arm] > 0, values[arm], np.nan) for arm in arms)
            by_seed = np.log(numerator) - np.log(denominator)
        case "value" | "each":
            by_seed = values[arms[0]]
        case "correlation":
            assert condition.other is not None
            others = {arm: reduce(measure=condition.other, arm=arm)[0] for arm in arms}
            pairs = zip(np.array([*values.values()]).T, np.array([*others.values()]).T, strict=True)
            by_seed = np.array([rank_correlation(x, y) for x, y in pairs])
            values = values | {f"{arm}, {condition.other.tag}": numbers for arm, numbers in others.items()}
    return Effects(by_seed, values, chosen)


def _reduce(
    condition: Condition, claim: Claim, measured: Measured, *, measure: Measure, arm: str, point: Point
) -> tuple[Floats, dict[str, Value]]:
    """A measure of one arm, reduced along the condition's axis: (seeds,), and the axis value that was chosen, if any."""

    def read(of: Measure, at: Point) -> list[float]:
        return [measured(of, arm, at, seed) for seed in claim.seeds]

    axis = condition.over
    if axis is None:
        return np.array(read(measure, point), dtype=np.float64), {}
    assert claim.sweep is not None
    values = tuple(claim.sweep.axes[axis])
    points = [{**point, axis: value} for value in values]
    metric = np.array([read(measure, at) for at in points], dtype=np.float64)
    if condition.reduction not in ("best", "gain"):
        return reduce_axis(condition.reduction, metric, values, working=condition.working_level), {}
    scores = np.array([read(Measure(tag=condition.choose_by), at) for at in points], dtype=np.float64)
    # One value for all seeds: the axis is tuned, not each run.
    with np.errstate(invalid="ignore"):
        means = scores.mean(axis=1) * (-1 if condition.choose_by.endswith("loss") else 1)
    if condition.reduction == "gain" and len(values) > 1:
        means[0] = np.nan  # a gain is over the first value, which can't be chosen unless it is the only one
    if np.isnan(means).all():
        return np.full(len(claim.seeds), np.nan), {}
    best = int(np.nanargmax(means))
    return (metric[best] if condition.reduction == "best" else metric[best] - metric[0]), {axis: values[best]}


def reduce_axis(reduction: Reduction, metric: Floats, axis: tuple[Value, ...], *, working: float | None) -> Floats:
    """Reduce a metric of shape (values, seeds) along a sweep axis, to shape (seeds,).

    min, max, mean: of the metric. slope: of log(metric) over log(axis), by least squares.
    decades: log10 width of the widest unbroken band of axis values where metric >= working; 0 for a band of a single value or
    none, NaN if the metric is defined nowhere.
    largest: the largest axis value where metric >= working; NaN if there is none.
    best and gain need a second metric to choose by, as _reduce does.
    """
    if reduction in ("min", "max", "mean"):
        return np.asarray(getattr(metric, reduction)(axis=0))
    x = np.array(axis, dtype=np.float64)
    if reduction == "slope":
        with np.errstate(invalid="ignore", divide="ignore"):
            log_metric = np.log(np.where(metric > 0, metric, np.nan))
        centered = np.log(x) - np.log(x).mean()
        return np.asarray(centered @ log_metric / (centered @ centered))
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
    bands = (list(band) for good, band in groupby(zip(x, works, strict=True), key=itemgetter(1)) if good)
    return max((float(np.log10(band[-1][0] / band[0][0])) for band in bands), default=0.0)
