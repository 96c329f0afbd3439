"""The numbers behind a claim's conditions, as panels for its figure: each arm along an axis, if there is one."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

from normexp.claims.effects import Bounds, Measured, RunKey
from normexp.claims.schema import Claim, Condition, Measure, format_point, is_number
from normexp.claims.verdict import Series
from normexp.claims.wording import steps_label

MAX_PANELS = 9
"""Limit on panels, so that the figure stays readable."""


def build_series(claim: Claim, measured: Measured, runs: Iterable[RunKey]) -> list[Series]:
    """One panel per measure and per value of the axes that it is not drawn along. runs: those that judge or choose."""
    drawn: dict[tuple[Measure, str | None], Condition] = {}  # the first condition that needs the panels
    for condition in claim.rule:
        for measure in filter(None, (condition.measure, condition.other)):
            drawn.setdefault((measure, _x_axis(condition, claim)), condition)
    trained = list(runs)
    panels = (_panels(condition, *key, claim, measured=measured, runs=trained) for key, condition in drawn.items())
    return list(itertools.islice(itertools.chain.from_iterable(panels), MAX_PANELS))


def _x_axis(condition: Condition, claim: Claim) -> str | None:
    """The axis that is reduced or contrasted, else the numeric axis with most values."""
    assert claim.sweep is not None
    if condition.over is not None:
        return condition.over
    if condition.contrast is not None:
        return condition.contrast[0]
    axes = claim.sweep.axes
    numeric = [axis for axis, values in axes.items() if len(values) > 1 and all(map(is_number, values))]
    return max(numeric, key=lambda axis: len(axes[axis]), default=None)


def _panels(
    condition: Condition,
    measure: Measure,
    axis: str | None,
    claim: Claim,
    *,
    measured: Measured,
    runs: Sequence[RunKey],
) -> Iterator[Series]:
    assert claim.sweep is not None
    others = {a: tuple(values) for a, values in claim.sweep.axes.items() if a != axis}
    xs = tuple(claim.sweep.axes[axis]) if axis else ("",)
    if added := {dict(point)[axis] for _, point, _ in runs if axis} - {*xs}:  # where the best value was at an end
        xs = tuple(sorted({*xs, *added}))  # type: ignore[type-var]
    log_x = bool(axis) and all(is_number(x) and x > 0 for x in xs) and max(xs) >= 10 * min(xs)  # type: ignore[operator, type-var]
    line = condition.working_level
    if condition.comparison == "value" and condition.contrast is None and line is None:
        line = condition.confirm if condition.reduction in ("best", "min", "max", "mean") else None
    at = f"step {measure.at}" if isinstance(measure.at, int) else measure.at
    name = measure.tag if at == "last" else f"{measure.tag} ({at})"
    trained = {seed for *_, seed in runs}  # with those that chose: only the chosen value has the others
    seeds = [seed for seed in (*claim.seeds, *claim.choosing_seeds) if seed in trained]
    for values in itertools.product(*others.values()):
        rest = dict(zip(others, values, strict=True))
        points = {x: {**rest, axis: x} if axis else rest for x in xs}
        arms = {
            arm: [(x, _numbers(measured(measure, arm, point, seed) for seed in seeds)) for x, point in points.items()]
            for arm in claim.sweep.arms
        }
        known = {arm: of for arm, of in arms.items() if any(y is not None for _, ys in of for y in ys)}
        if known:
            if measure.reaches is not None:  # an arm that never gets there belongs into the picture
                known = {arm: of for arm, of in arms.items() if any(ys for _, ys in of)}
            yield Series(
                title=format_point(rest),
                x=axis or "",
                log_x=log_x,
                y=name if measure.reaches is None else steps_label(measure.tag, measure.reaches),
                line=line,
                arms=known,
            )


def _numbers(runs: Iterable[Bounds | None]) -> list[float | None]:
    """The numbers to draw, of the runs that were trained; None if not defined, or if the run never got there."""
    return [bounds[1] if math.isfinite(bounds[1]) else None for bounds in runs if bounds is not None]
