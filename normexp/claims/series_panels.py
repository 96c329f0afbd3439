"""Series of a verdict as panels of a figure: positions along the x axis, values in the unit that is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from normexp.claims.schema import Value
from normexp.claims.verdict import Series, plottable
from normexp.claims.wording import measure_label, scaled
from normexp.report.groups import format_value
from normexp.report.metrics import is_fraction

Point = tuple[float, list[float | None]]
"""A position along the x axis, and one value per seed."""


@dataclass(frozen=True)
class SeriesPanel:
    """A panel of lines or dots.

    x_label: the axis; empty if the arms themselves stand side by side. arms: points by arm, sorted by x. line: y of a horizontal
    line. ticks: labels of the positions 0, 1, ... if x is categorical. connected: whether lines connect the points. x_names: by
    position, the value for tooltips.
    """

    title: str
    x_label: str
    y_label: str
    arms: dict[str, list[Point]]
    line: float | None
    ticks: list[str] | None
    connected: bool
    log_x: bool
    x_names: dict[float, str]


def build_panel(series: Series, same_axis: Sequence[Series]) -> SeriesPanel:
    """Build a panel. same_axis: all series with the same x axis, `series` included; they share positions and unit."""
    axis = series.x
    points = [point for other in same_axis for of_arm in other.arms.values() for point in of_arm]
    values = [value for _, by_seed in points for value in by_seed if value is not None]
    # a tag such as test/accuracy is not enough: reduced along an axis, it may be a number of steps
    percent = is_fraction(series.y) and all(abs(value) <= 1 for value in values)
    factor = 100.0 if percent else 1.0
    if axis:
        positions, ticks = _positions({_key(x): x for x, _ in points}, log=series.log_x)
    else:
        ticks = list(dict.fromkeys(arm for other in same_axis for arm in other.arms))
        positions = {arm: float(i) for i, arm in enumerate(ticks)}
    arms = {
        arm: sorted(
            ((positions[_key(x) if axis else arm], [scaled(v, factor) for v in by_seed]) for x, by_seed in of_arm),
            key=lambda point: point[0],
        )
        for arm, of_arm in series.arms.items()
    }
    return SeriesPanel(
        title=series.title,
        x_label=axis,
        y_label=measure_label(series.y) + (" (%)" if percent else ""),
        arms=arms,
        line=scaled(series.line, factor),
        ticks=ticks,
        connected=bool(axis) and all(plottable(x) is not None for x, _ in points),
        log_x=series.log_x and ticks is None,
        x_names={positions[_key(x)]: format_value(x) for of_arm in series.arms.values() for x, _ in of_arm}
        if axis
        else {},
    )


def _positions(xs: dict[str, Value], *, log: bool) -> tuple[dict[str, float], list[str] | None]:
    """Position of each x, and tick labels if x is categorical: not all are numbers that the axis can show."""
    numbers = {key: number for key, x in xs.items() if (number := plottable(x)) is not None}
    numeric = len(numbers) == len(xs)
    if numeric and not (log and min(numbers.values(), default=1) <= 0):
        return numbers, None
    ordered = sorted(xs, key=numbers.__getitem__) if numeric else list(xs)
    return {key: float(i) for i, key in enumerate(ordered)}, [format_value(xs[key]) for key in ordered]


def _key(x: Value) -> str:
    """Equal for 1 and 1.0, but not for 1, True and '1'."""
    number = plottable(x)
    return repr(x if number is None else number)
