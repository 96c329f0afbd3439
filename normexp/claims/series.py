"""The numbers behind a claim's conditions, as panels for its figure: each arm along an axis, if there is one."""

import itertools
from collections.abc import Iterator

from normexp.claims.effects import Measured
from normexp.claims.schema import Claim, Condition, Measure, format_point, is_number
from normexp.claims.verdict import Series

MAX_PANELS = 9
"""Limit on panels, so that the figure stays readable."""


def build_series(claim: Claim, measured: Measured) -> list[Series]:
    """One panel per measure and per value of the axes that it is not drawn along."""
    drawn: dict[tuple[Measure, str | None], Condition] = {}  # the first condition that needs the panels
    for condition in claim.rule:
        for measure in filter(None, (condition.measure, condition.other)):
            drawn.setdefault((measure, _x_axis(condition, claim)), condition)
    panels = (_panels(condition, *key, claim, measured) for key, condition in drawn.items())
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
    condition: Condition, measure: Measure, axis: str | None, claim: Claim, measured: Measured
) -> Iterator[Series]:
    assert claim.sweep is not None
    others = {a: tuple(values) for a, values in claim.sweep.axes.items() if a != axis}
    xs = tuple(claim.sweep.axes[axis]) if axis else ("",)
    log_x = bool(axis) and all(is_number(x) and x > 0 for x in xs) and max(xs) >= 10 * min(xs)  # type: ignore[operator, type-var]
    line = condition.working_level
    if condition.comparison == "value" and condition.contrast is None and line is None:
        line = condition.threshold if condition.reduction in ("best", "min", "max", "mean") else None
    at = f"step {measure.at}" if isinstance(measure.at, int) else measure.at
    for values in itertools.product(*others.values()):
        rest = dict(zip(others, values, strict=True))
        points = {x: {**rest, axis: x} if axis else rest for x in xs}
        yield Series(
            title=format_point(rest),
            x=axis or "",
            log_x=log_x,
            y=measure.tag if at == "last" else f"{measure.tag} ({at})",
            line=line,
            arms={
                arm: [(x, [measured(measure, arm, point, seed) for seed in claim.seeds]) for x, point in points.items()]
                for arm in claim.sweep.arms
            },
        )
