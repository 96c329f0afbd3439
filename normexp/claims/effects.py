"""The effect that a condition asks for: measured values of arms, taken over an axis and compared, one number a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from normexp.claims.intervals import ranks
from normexp.claims.reduce import best, take
from normexp.claims.schema import Claim, Condition, Measure, Point, Value, point_text

Floats = NDArray[np.float64]

Measured = Callable[[Measure, str, Mapping[str, Value], int], float]
"""(measure, arm, value of each axis, seed) to the number of that run; NaN where it is not defined."""

Place = Mapping[str, Value]
"""A value of each axis that a condition takes nothing over."""


@dataclass(frozen=True)
class Effects:
    """by_seed: (seeds,), of ratios the logarithm; NaN where not defined. values: what they are made of, (seeds,) for each arm.
    chosen: of each arm, what was chosen on validation data."""

    by_seed: Floats
    values: dict[str, Floats]
    chosen: dict[str, dict[str, Value]]


def effects(condition: Condition, claim: Claim, cell: Point, measured: Measured) -> Effects:
    """Those of a cell, over the claim's seeds."""
    of = Taker(condition, claim, measured)
    if condition.contrast is None:
        return _compared(of, dict(cell))
    axis, one, two = condition.contrast
    first, second = (_compared(of, {**dict(cell), axis: value}) for value in (one, two))
    labels = [point_text(((axis, value),)) for value in (one, two)]
    both = list(zip((first, second), labels, strict=True))
    return Effects(
        first.by_seed - second.by_seed,
        {f"{arm}, {label}": values for each, label in both for arm, values in each.values.items()},
        {f"{arm}, {label}": chosen for each, label in both for arm, chosen in each.chosen.items()},
    )


def _compared(of: Taker, place: Place) -> Effects:
    condition = of.condition
    arms = condition.compare or ("",)
    made = {arm: of(condition.measure, arm, place) for arm in arms}
    values = {arm: each for arm, (each, _) in made.items()}
    chosen = {arm: picked for arm, (_, picked) in made.items() if picked}
    match condition.how:
        case "difference":
            found = values[arms[0]] - values[arms[1]]
        case "ratio":
            one, two = (np.where(values[arm] > 0, values[arm], np.nan) for arm in arms)
            found = np.log(one) - np.log(two)
        case "value" | "each":
            found = values[arms[0]]
        case "correlation":
            assert condition.other is not None
            others = {arm: of(condition.other, arm, place)[0] for arm in arms}
            tables = [np.array([table[arm] for arm in arms]) for table in (values, others)]
            found = np.array([ranks(tables[0][:, i], tables[1][:, i]) for i in range(len(of.claim.seeds))])
            values = values | {f"{arm}, {condition.other.tag}": each for arm, each in others.items()}
    return Effects(found, values, chosen)


@dataclass(frozen=True)
class Taker:
    """One number a seed for an arm, and the value of the condition's axis that was chosen for it, if one was."""

    condition: Condition
    claim: Claim
    measured: Measured

    def __call__(self, measure: Measure, arm: str, place: Place) -> tuple[Floats, dict[str, Value]]:
        condition, seeds, axis = self.condition, self.claim.seeds, self.condition.over
        if axis is None:
            return np.array([self.measured(measure, arm, place, seed) for seed in seeds], dtype=np.float64), {}
        assert self.claim.sweep is not None
        places = tuple(self.claim.sweep.axes[axis])

        def table(of: Measure) -> Floats:
            rows = [[self.measured(of, arm, {**place, axis: value}, seed) for seed in seeds] for value in places]
            return np.array(rows, dtype=np.float64)

        values = table(measure)
        if condition.take not in ("best", "gain"):
            return take(condition.take, values, places, condition.working), {}
        scores = table(Measure(tag=condition.choose))
        first = 1 if condition.take == "gain" and len(places) > 1 else 0
        i = best(scores[first:], lowest=condition.choose.endswith("loss"))
        if i is None:
            return np.full(len(seeds), np.nan), {}
        chosen = {axis: places[first + i]}
        return (values[i] if condition.take == "best" else values[first + i] - values[0]), chosen
