"""The effect of a condition, one number per seed: metrics of the arms, reduced along an axis and compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from normexp.claims.reduce import best_index, reduce_axis
from normexp.claims.schema import Claim, Condition, Measure, Point, Value, format_point
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
    reducer = ArmReducer(condition, claim, measured)
    if condition.contrast is None:
        return _compare(reducer, cell)
    axis, *values = condition.contrast
    first, second = (_compare(reducer, {**cell, axis: value}) for value in values)
    labelled = list(zip((first, second), (format_point({axis: value}) for value in values), strict=True))
    return Effects(
        first.by_seed - second.by_seed,
        {f"{arm}, {label}": numbers for side, label in labelled for arm, numbers in side.values.items()},
        {f"{arm}, {label}": chosen for side, label in labelled for arm, chosen in side.chosen.items()},
    )


def _compare(reducer: ArmReducer, point: Point) -> Effects:
    condition = reducer.condition
    arms = condition.arms or ("",)
    reduced = {arm: reducer(condition.measure, arm, point) for arm in arms}
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
            others = {arm: reducer(condition.other, arm, point)[0] for arm in arms}
            x, y = (np.array([table[arm] for arm in arms]) for table in (values, others))
            by_seed = np.array([rank_correlation(x[:, i], y[:, i]) for i in range(len(reducer.claim.seeds))])
            values = values | {f"{arm}, {condition.other.tag}": numbers for arm, numbers in others.items()}
    return Effects(by_seed, values, chosen)


@dataclass(frozen=True)
class ArmReducer:
    """Reduces a measure of one arm along the condition's axis: (seeds,), and the axis value that was chosen, if any."""

    condition: Condition
    claim: Claim
    measured: Measured

    def __call__(self, measure: Measure, arm: str, point: Point) -> tuple[Floats, dict[str, Value]]:
        condition, seeds, axis = self.condition, self.claim.seeds, self.condition.over
        if axis is None:
            return np.array([self.measured(measure, arm, point, seed) for seed in seeds], dtype=np.float64), {}
        assert self.claim.sweep is not None
        values = tuple(self.claim.sweep.axes[axis])

        def table(of: Measure) -> Floats:
            rows = [[self.measured(of, arm, {**point, axis: value}, seed) for seed in seeds] for value in values]
            return np.array(rows, dtype=np.float64)

        metric = table(measure)
        if condition.reduction not in ("best", "gain"):
            return reduce_axis(condition.reduction, metric, values, working=condition.working_level), {}
        scores = table(Measure(tag=condition.choose_by))
        first = 1 if condition.reduction == "gain" and len(values) > 1 else 0
        best = best_index(scores[first:], lowest=condition.choose_by.endswith("loss"))
        if best is None:
            return np.full(len(seeds), np.nan), {}
        chosen = {axis: values[first + best]}
        return (metric[best] if condition.reduction == "best" else metric[first + best] - metric[0]), chosen
