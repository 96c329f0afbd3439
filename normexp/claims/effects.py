"""The effect of a condition, one per seed: metrics of the arms, reduced along an axis and compared.

Every number is a pair of bounds, which are equal unless it is known only in part: a run that never reaches 90 % has
(its length, inf) as its steps to 90 %.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from normexp.claims.decide import lower_bound
from normexp.claims.grid import extend, grid_step, is_grid, nearest
from normexp.claims.schema import SINGLE_LEVEL, Claim, Condition, Measure, Point, Value, format_point

Floats = NDArray[np.float64]

Bounds = tuple[float, float]

RunKey = tuple[str, tuple[tuple[str, Value], ...], int]
"""A run of a claim: arm, value of each axis, seed."""

Measured = Callable[[Measure, str, Point, int], Bounds | None]
"""Maps (measure, arm, value of each axis, seed) to the number of that run: (nan, nan) if it is not defined, None if the run is
still to be trained."""

MAX_EXTENSIONS = 2
"""Limit on the steps by which an axis is extended because its best value is at an end. The claim's cost must stay bounded."""


@dataclass(frozen=True)
class Effects:
    """Effects of one cell.

    low, high: (seeds,), log ratios for ratios; NaN where not defined. values: (2, seeds) by arm, the numbers that were compared.
    chosen: by arm, the axis value that the claim's choosing seeds prefer. at_end: by arm, "smallest" or "largest" if that is
    still the first or last one tried.
    """

    low: Floats
    high: Floats
    values: dict[str, Floats]
    chosen: dict[str, dict[str, Value]]
    at_end: dict[str, str]


@dataclass
class Reader:
    """Reads numbers of runs, and collects the runs that are still missing."""

    claim: Claim
    measured: Measured
    missing: dict[RunKey, None] = field(default_factory=dict)

    def read(self, measure: Measure, arm: str, point: Point, seeds: Sequence[int]) -> Floats:
        """(2, seeds)."""
        axes = self.claim.sweep.axes if self.claim.sweep else ()
        bounds = []
        for seed in seeds:
            number = self.measured(measure, arm, point, seed)
            if number is None:
                self.missing[arm, tuple((axis, point[axis]) for axis in axes), seed] = None
            bounds.append(number or (np.nan, np.nan))
        return np.array(bounds, dtype=np.float64).T


def effects(
    condition: Condition, cell: Point, seeds: Sequence[int], reader: Reader, *, between_values: bool = True
) -> Effects:
    """Compute the effects of a condition in one cell. If runs are missing, the reader lists them and the result is void.

    between_values: count with what may lie between two values of an axis, for numbers that are read off it.
    """
    if condition.contrast is None:
        return _compare(condition, cell, seeds, reader, between_values)
    axis, *values = condition.contrast
    sides = {
        format_point({axis: v}): _compare(condition, {**cell, axis: v}, seeds, reader, between_values) for v in values
    }
    first, second = sides.values()

    def merged(part: str) -> dict[str, object]:
        return {f"{arm}, {label}": x for label, side in sides.items() for arm, x in getattr(side, part).items()}

    parts = {part: merged(part) for part in ("values", "chosen", "at_end")}
    return Effects(first.low - second.high, first.high - second.low, **parts)  # type: ignore[arg-type]


def _compare(condition: Condition, point: Point, seeds: Sequence[int], reader: Reader, between_values: bool) -> Effects:
    arms = condition.arms or ("",)
    if condition.comparison == "correlation":
        return _correlate(condition, point, seeds, reader)
    values, chosen, at_end = dict[str, Floats](), dict[str, dict[str, Value]](), dict[str, str]()
    for arm in dict.fromkeys(arms):
        values[arm], choice, end = _reduce(condition, arm, point, seeds, reader)
        chosen |= {arm: choice} if choice else {}
        at_end |= {arm: end} if end else {}
    numbers = [values[arm] for arm in arms]
    if between_values and condition.reduction in ("decades", "largest"):
        assert condition.over is not None and reader.claim.sweep is not None
        axis = tuple(reader.claim.sweep.axes[condition.over])
        numbers = [_widened(condition, number, axis) for number in numbers]
    match condition.comparison:
        case "difference":
            low, high = numbers[0] - numbers[1][::-1]
        case "ratio":
            logs = [_log(number) for number in numbers]
            low, high = logs[0] - logs[1][::-1]
        case "share":
            low = high = _share(*(number.mean(axis=0) for number in numbers))
        case _:
            low, high = numbers[0]
    return Effects(low, high, values, chosen, at_end)


def _log(bounds: Floats) -> Floats:
    """Logarithms of bounds; NaN if the upper one is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.log(np.maximum(bounds, 0.0))
    undefined = ~(bounds[1] > 0)
    return np.where(undefined, np.nan, np.array([low, high]))


def _share(a: Floats, b: Floats, c: Floats | None = None, d: Floats | None = None) -> Floats:
    """a / b, or (a - b) / (c - d), of means over seeds, linearized: one value per seed, whose mean is the share.

    The spread of these values gives the share's standard error to first order (ratio estimator; Cochran 1977, section 6.4).
    NaN unless the denominator is surely positive, or, for two arms, surely not 0.
    """
    numerator, denominator = (a, b) if c is None or d is None else (a - b, c - d)
    known = np.isfinite(numerator) & np.isfinite(denominator)
    mean = denominator[known].mean() if known.any() else 0.0
    sign = 1.0 if c is not None else np.sign(mean)
    if not known.any() or lower_bound(sign * denominator[known], SINGLE_LEVEL) <= 0:
        return np.full_like(a, np.nan)
    share = numerator[known].mean() / mean
    return np.asarray(share + (numerator - share * denominator) / mean)


def _widened(condition: Condition, bounds: Floats, axis: tuple[Value, ...]) -> Floats:
    """Bounds of one arm's number that is read off an axis: a limit lies between the last value that works and the next one.

    bounds: (2, seeds). A range has a limit at either end.
    """
    low, high = bounds
    if condition.reduction == "decades":
        return np.array([np.maximum(low - grid_step(axis), 0.0), high + grid_step(axis)])
    x = np.sort(np.array(axis, dtype=np.float64))
    following = x[np.minimum(np.searchsorted(x, low, side="right"), len(x) - 1)]
    return np.array([low, np.where(np.isfinite(high), following, high)])


def _correlate(condition: Condition, point: Point, seeds: Sequence[int], reader: Reader) -> Effects:
    """Kendall's tau-b over all arms and values of the pooled axes, seed by seed."""
    from scipy.stats import kendalltau

    assert condition.other is not None and reader.claim.sweep is not None
    axes = [reader.claim.sweep.axes[axis] for axis in condition.pool]
    points = [dict(zip(condition.pool, values, strict=True)) for values in itertools.product(*axes)]
    both, values = [], dict[str, Floats]()
    for measure in (condition.measure, condition.other):
        of = replace(condition, measure=measure)
        reduced = {
            (arm, format_point(extra)): _reduce(of, arm, {**point, **extra}, seeds, reader)[0]
            for arm in condition.arms
            for extra in points
        }
        both.append(np.array([bounds.mean(axis=0) for bounds in reduced.values()]))
        values |= {", ".join(filter(None, (*key, measure.tag))): bounds for key, bounds in reduced.items()}
    taus = [
        kendalltau(x, y).statistic if np.isfinite([*x, *y]).all() else np.nan
        for x, y in zip(*(b.T for b in both), strict=True)
    ]
    by_seed = np.array(taus, dtype=np.float64)
    return Effects(by_seed, by_seed, values, {}, {})


def _reduce(
    condition: Condition, arm: str, point: Point, seeds: Sequence[int], shared: Reader
) -> tuple[Floats, dict[str, Value], str]:
    """The measure of one arm, reduced along the condition's axis: (2, seeds); the value chosen; the end that it is at, if any."""
    reader = Reader(shared.claim, shared.measured)  # what is missing of one arm must not hold up another
    try:
        return _reduce_alone(condition, arm, point, seeds, reader)
    finally:
        shared.missing |= reader.missing


def _reduce_alone(
    condition: Condition, arm: str, point: Point, seeds: Sequence[int], reader: Reader
) -> tuple[Floats, dict[str, Value], str]:
    axis, measure = condition.over, condition.measure
    if axis is None:
        return reader.read(measure, arm, point, seeds), {}, ""
    assert reader.claim.sweep is not None
    if condition.reduction not in ("best", "gain"):
        grid = tuple(reader.claim.sweep.axes[axis])
        numbers = [_read_best_of(condition, arm, {**point, axis: value}, seeds, reader) for value in grid]
        return reduce_axis(condition, np.stack(numbers, axis=1), grid), {}, ""
    of_other = condition.multiple is not None and arm == condition.arms[0]
    values, scores = _score(condition, condition.arms[1] if of_other else arm, point, reader)
    if reader.missing or np.isneginf(scores).all():
        return np.full((2, len(seeds)), np.nan), {}, ""
    choice, end = values[_best(scores)], _end(values, scores)
    if of_other:
        choice, end = nearest(condition.multiple, choice, values), ""
    metric = reader.read(measure, arm, {**point, axis: choice}, seeds)
    if condition.reduction == "gain":
        metric = metric - reader.read(measure, arm, {**point, axis: values[0]}, seeds)[::-1]
    return metric, {axis: choice}, end


def _read_best_of(condition: Condition, arm: str, point: Point, seeds: Sequence[int], reader: Reader) -> Floats:
    """The measure of one arm, at its maximum over the axis `best_of`, if there is one: (2, seeds)."""
    assert reader.claim.sweep is not None
    axis, axes = condition.best_of, reader.claim.sweep.axes
    points = [{**point, axis: value} for value in axes[axis]] if axis else [point]
    return np.asarray(np.max([reader.read(condition.measure, arm, at, seeds) for at in points], axis=0))


def _score(condition: Condition, arm: str, point: Point, reader: Reader) -> tuple[list[Value], Floats]:
    """The axis values of an arm, extended where the best one is at an end, and their scores (values, choosing seeds).

    For a gain, the first value (no dropout) can't be chosen. A single value needs no runs to be chosen. Where no run ever reaches
    the level, the measure's last value chooses.
    """
    assert condition.over is not None and reader.claim.sweep is not None
    axis, tag = condition.over, condition.choose_by
    measure = condition.measure if tag is None else Measure(tag=tag)
    listed, seeds = list(reader.claim.sweep.axes[axis]), reader.claim.choosing_seeds
    can_extend, values = not reader.claim.quick and condition.reduction == "best", listed
    if len(listed) == 1:
        return listed, np.zeros((1, len(seeds)))
    while True:
        bounds = np.stack([reader.read(measure, arm, {**point, axis: v}, seeds) for v in values], axis=1)
        if measure.reaches is not None and np.isinf(bounds[1]).all():  # none gets there: which one comes nearest?
            final = Measure(tag=measure.tag)
            scores = np.array([reader.read(final, arm, {**point, axis: v}, seeds)[0] for v in values])
        elif measure.reaches is not None:  # a run that ends early without getting there is no better than the others
            longest = bounds[0].max(initial=0.0, where=np.isfinite(bounds[0]))
            scores = -np.where(np.isinf(bounds[1]), longest, bounds[0])
        else:
            scores = -bounds[0] if measure.tag.endswith("loss") else bounds[0]
        scores = np.where(np.isnan(scores), -np.inf, scores)
        if condition.reduction == "gain" and len(values) > 1:
            scores[0] = -np.inf
        if reader.missing or not can_extend or len(values) == len(listed) + MAX_EXTENSIONS:
            return values, scores
        extended = extend(values, values[_best(scores)]) if _end(values, scores) else values
        if extended == values:
            return values, scores
        values = extended


def _best(scores: Floats) -> int:
    """Index of the value with the highest mean score. If all are the same (none ever gets there), the one in the middle."""
    means = scores.mean(axis=1)
    return len(means) // 2 if (means == means[0]).all() else int(means.argmax())


def _end(values: Sequence[Value], scores: Floats) -> str:
    """'smallest' or 'largest' if the best value is that one, of positive numbers, and surely better than its neighbor; else ''.

    Surely: by more than a standard error. Values that differ by noise alone, as at chance level, have no direction.
    """
    means = scores.mean(axis=1)
    if not is_grid(values) or (means == means[0]).all():
        return ""
    order = np.argsort(np.array(values, dtype=np.float64))
    for name, (end, neighbor) in {"smallest": order[:2], "largest": order[:-3:-1]}.items():
        if means.argmax() == end:
            better = scores[end] - scores[neighbor]  # infinite where the neighbor has no score; the best has them all
            certain = np.isinf(better).any() or len(better) == 1
            error = 0.0 if certain else better.std(ddof=1) / np.sqrt(len(better))
            return name if better.mean() > error else ""
    return ""


def reduce_axis(condition: Condition, metric: Floats, axis: tuple[Value, ...]) -> Floats:
    """Reduce a metric of shape (2, values, seeds) along a sweep axis, to shape (2, seeds).

    min, max, mean: of the metric. slope: of the metric over the axis, by least squares.
    decades: number of values where metric >= working_level, times the grid's step in decades; NaN if not defined anywhere.
    largest: the largest axis value where metric >= working_level. If all values work, or none, it is known on one side only.
    """
    reduction = condition.reduction
    if reduction in ("min", "max", "mean"):
        return np.asarray(getattr(metric, reduction)(axis=1))
    x = np.array(axis, dtype=np.float64)
    if reduction == "slope":
        centered = x - x.mean()
        return np.asarray(np.einsum("v,bvs->bs", centered, metric) / (centered @ centered))
    assert condition.working_level is not None
    works = metric[0] >= condition.working_level  # False for NaN
    undefined = np.isnan(metric[0]).all(axis=0)
    if reduction == "decades":
        count = works.sum(axis=0) * grid_step(axis)
        return np.where(undefined, np.nan, np.array([count, count]))
    largest = np.where(works, x[:, None], 0.0).max(axis=0)
    low, high = largest, np.where(largest == x.max(), np.inf, np.where(largest == 0, x.min(), largest))
    return np.where(undefined, np.nan, np.array([low, high]))
