"""Plots of what the runs of a claim measured: one panel per series, one line per arm, one dot per seed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from normexp.claims.schema import Value
from normexp.claims.verdict import Series, Verdict, plottable
from normexp.claims.wording import measure_label, scaled
from normexp.metrics import is_fraction
from normexp.plotting.colors import INK, LineStyle
from normexp.plotting.labels import safe_label, truncate
from normexp.plotting.style import BOTTOM, WIDE, Canvas, Panel, log_axis, marker_handle, new_canvas
from normexp.report.groups import format_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

MAX_PANELS = 12
"""Limit on panels, so that the figure fits a page."""

MAX_DOTS = 150
"""Arms with more values in a panel get a band from the smallest to the largest seed instead."""

STEPS = re.compile(r"^(steps to \S+(?: %)?) .*")

MAX_TICK_LABEL = 22
"""Longer names of categories are truncated."""


class Point(NamedTuple):
    """A position along the x axis, its name, the values of the seeds that have one, and the number of seeds that have none."""

    x: float
    name: str
    values: tuple[float, ...]
    missing: int

    @property
    def mean(self) -> float:
        """The mean over seeds; NaN if one has no value, since those without one are not like the others."""
        return math.nan if self.missing else fmean(self.values)


class SeriesPanel:
    """A panel of lines or dots. same_axis: all series with the same x axis, including this one; they share positions and unit.

    x_label: the axis; empty if the arms themselves stand side by side. arms: their points, sorted by x. ticks: labels of the
    positions 0, 1, ... if x is categorical. connected: whether lines connect the points.
    """

    def __init__(self, series: Series, same_axis: Sequence[Series]) -> None:
        axis, arms = series.x, [arm for other in same_axis for arm in other.arms.items()]
        points = [(x if axis else name, by_seed) for name, of_arm in arms for x, by_seed in of_arm]
        positions, ticks = _positions({_key(x): x for x, _ in points}, log=series.log_x)
        # a tag such as test/accuracy is not enough: reduced along an axis, it may be a number of steps
        own = [
            point for other in same_axis if other.y == series.y for of_arm in other.arms.values() for point in of_arm
        ]
        percent = is_fraction(series.y) and all(abs(y) <= 1 for _, by_seed in own for y in by_seed if y is not None)
        factor = 100.0 if percent else 1.0
        self.counts_steps = bool(STEPS.match(series.y))
        """Whether seeds without a value never got there, and so lie beyond the top."""
        self.title, self.x_label, self.line = series.title, axis, scaled(series.line, factor)
        self.y_label = STEPS.sub(r"\1", measure_label(series.y)) + " (%)" * percent
        self.ticks = tuple(truncate(safe_label(tick), MAX_TICK_LABEL) for tick in ticks)
        self.log_x = series.log_x and not ticks
        self.connected = bool(axis) and all(plottable(x) is not None for x, _ in points)
        self.arms: dict[str, list[Point]] = {}
        for i, (arm, of_arm) in enumerate(series.arms.items()):
            # categories have no order: arms are drawn next to each other, without connecting lines
            shift = 0.0 if self.connected or not axis else 0.6 * ((i + 0.5) / len(series.arms) - 0.5)
            self.arms[arm] = sorted(
                Point(
                    positions[_key(x if axis else arm)] + shift,
                    format_value(x) if axis else "",
                    tuple(factor * value for value in by_seed if value is not None),
                    sum(value is None for value in by_seed),
                )
                for x, by_seed in of_arm
            )

    def tick_room(self, columns: int) -> float:
        """Inches that slanted tick labels need below the axis in a figure of so many columns; 0 if they need no slant."""
        longest = max(map(len, self.ticks), default=0)
        return 0.045 * longest if len(self.ticks) * (longest + 1) * 0.055 > 5.8 / columns else 0.0


def build_panels(verdict: Verdict) -> list[SeriesPanel]:
    """One panel per series."""
    available = [series for series in verdict.series if series.arms]
    return [SeriesPanel(series, [s for s in available if s.x == series.x]) for series in available[:MAX_PANELS]]


def _positions(xs: dict[str, Value], *, log: bool) -> tuple[dict[str, float], list[str]]:
    """Position of each x, and tick labels if x is categorical: not all are numbers that the axis can show."""
    numbers = {key: number for key, x in xs.items() if (number := plottable(x)) is not None}
    numeric = len(numbers) == len(xs)
    if numeric and not (log and min(numbers.values(), default=1) <= 0):
        return numbers, []
    ordered = sorted(xs, key=numbers.__getitem__) if numeric else list(xs)
    return {key: float(i) for i, key in enumerate(ordered)}, [format_value(xs[key]) for key in ordered]


def _key(x: Value) -> str:
    """Equal for 1 and 1.0, but not for 1, True and '1'."""
    number = plottable(x)
    return repr(x if number is None else number)


def draw_panels(
    panels: Sequence[SeriesPanel], styles: Mapping[str, LineStyle], *, below: float
) -> tuple[Canvas, list[str]]:
    """Draw the panels in a new figure; returns it with the sentences of its caption. below: free room under them, in inches."""
    columns = 2 if len(panels) in (2, 4) else min(len(panels), 3)
    height = 1.9 if columns == 1 else 1.45
    shared = len({(panel.x_label, panel.y_label, panel.log_x, panel.ticks) for panel in panels}) == 1
    arms = [points for panel in panels for points in panel.arms.values()]
    missing = {panel.counts_steps for panel in panels for of in panel.arms.values() if any(p.missing for p in of)}
    # on an x axis of arms, the ticks name them
    legend = [*styles.values()] if any(panel.x_label for panel in panels) else []
    canvas = new_canvas(
        [Panel(*divmod(i, columns), panel.title or panel.y_label) for i, panel in enumerate(panels)],
        legend=[*legend, *[marker_handle("x", "no value")] * (False in missing)],
        height=height,
        width=WIDE,
        bottom=max((BOTTOM + panel.tick_room(columns) for panel in panels), default=0.0),
        below=below,
        shared="all" if shared else "none",
    )
    for panel, axes in zip(panels, canvas.axes.values(), strict=True):
        _draw_arms(canvas, axes, panel, styles)
    for panel, ((row, column), axes) in zip(panels, canvas.axes.items(), strict=True):
        width = axes.get_position().width * WIDE
        _set_scales(axes, panel, panels if shared else [panel], width=width, slanted=panel.tick_room(columns) > 0)
        if not shared or (row + 1, column) not in canvas.axes:
            axes.set_xlabel(truncate(safe_label(panel.x_label), int(width / 0.06)))
        if panel.title and (not shared or column == 0):
            axes.set_ylabel(truncate(safe_label(panel.y_label), int(height / 0.056)))
    crowded = {_is_crowded(points) for points in arms}
    means = "means over seeds, where all have a value" if missing else "means over seeds"
    caption = [f"Top: {means}; each dot is one seed."] * (False in crowded)
    caption += ["Bands: range over seeds."] * (True in crowded)
    caption += ["Triangle at the top: the number of seeds that never got there."] * (True in missing)
    caption += ["Cross at the bottom: the number of seeds without a value, for example because they diverged."] * (
        False in missing
    )
    return canvas, caption


def _is_crowded(points: Sequence[Point]) -> bool:
    return sum(bool(point.values) for point in points) > 2 and sum(len(point.values) for point in points) > MAX_DOTS


def _draw_arms(canvas: Canvas, axes: Axes, panel: SeriesPanel, styles: Mapping[str, LineStyle]) -> None:
    rows = 0  # of marks for missing values
    for arm, points in panel.arms.items():
        style, known = styles[arm], [point for point in points if point.values]
        xs = [point.x for point in known]
        if _is_crowded(points):
            low, high = ([end(point.values) for point in known] for end in (min, max))
            canvas.mark(axes.fill_between(xs, low, high, color=style.color, alpha=0.18, linewidth=0), None)
        else:
            spread, size = (0.0, 2.6) if panel.x_label else (0.3, 4.0)  # above each other, or side by side
            dots = [(p.x, (i + 0.5) / len(p.values) - 0.5, y) for p in known for i, y in enumerate(p.values)]
            at, ys = [x + spread * shift for x, shift, _ in dots], [y for _, _, y in dots]
            axes.plot(at, ys, "o", color=style.color, markersize=size, markeredgewidth=0, alpha=0.55)
        name = f"{arm}, {panel.x_label}=" if panel.x_label else arm
        tips = {point: f"{name}{point.name}: {_describe(point)}" for point in points if point.values or point.missing}
        means = [point.mean for point in known]
        if not panel.x_label:
            for point in known:
                ends = point.x - 0.25, point.x + 0.25
                canvas.mark(axes.hlines(point.mean, *ends, color=style.color, linewidth=1.6), None, [tips[point]])
        elif known:
            dashes, marker = style.dashes if panel.connected else "none", "" if len(known) > 25 else style.marker
            (path,) = axes.plot(xs, means, color=style.color, linestyle=dashes, marker=marker, markersize=3.6)
            canvas.mark(
                path, None, [tips[point] for point in known if not point.missing]
            )  # no marker where there is no mean
        if missing := [point for point in points if point.missing]:
            marks = _mark_missing(axes, missing, style, row=rows, top=panel.counts_steps)
            canvas.mark(marks, None, [tips[point] for point in missing])
            rows += 1
            axes.margins(y=0.05 + 0.09 * rows)
    if panel.line is not None:
        axes.axhline(panel.line, color=INK, linewidth=0.9, linestyle=(0, (4, 2)))


def _describe(point: Point) -> str:
    """'0.95 (0.94 to 0.96, n=5)', or '0.94 to 0.96, n=3, 2 without a value'."""
    without = f"{point.missing} without a value" if point.missing else ""
    if not point.values:
        return without
    ends = f"{min(point.values):.4g} to {max(point.values):.4g}, n={len(point.values)}"
    return f"{ends}, {without}" if without else f"{point.mean:.4g} ({ends})"


def _mark_missing(axes: Axes, points: Sequence[Point], style: LineStyle, *, row: int, top: bool) -> Line2D:
    """Mark the points at which seeds have no value, with their number. row: from the edge, so that arms don't overlap."""
    height, transform = 0.045 + 0.085 * row, axes.get_xaxis_transform()
    y, marker = (1 - height, "^") if top else (height, "x")
    (marks,) = axes.plot([p.x for p in points], [y] * len(points), marker, color=style.color, transform=transform)
    marks.set(markersize=4.5, markeredgewidth=1.3)
    for point in points:
        text = axes.annotate(f"{point.missing}", (point.x, y), (4, 0), xycoords=transform, textcoords="offset points")
        text.set(color=style.color, fontsize=6, va="center")
    return marks


def _set_scales(axes: Axes, panel: SeriesPanel, panels: Sequence[SeriesPanel], *, width: float, slanted: bool) -> None:
    """Choose scales and ticks. panels: all that share the axes. width: of the panel, in inches."""
    points = [point for each in panels for of_arm in each.arms.values() for point in of_arm]
    ys = [value for point in points for value in point.values]
    if ys and 0 < 30 * min(ys) < max(ys) and "%" not in panel.y_label:
        axes.set_yscale("log")
        log_axis(axes.yaxis)
    if panel.log_x:
        axes.set_xscale("log")
    xs = sorted({point.x for point in points if point.values or point.missing})
    if panel.ticks:
        rotation, align = (35, "right") if slanted else (0, "center")
        axes.set_xticks(range(len(panel.ticks)), panel.ticks, rotation=rotation, ha=align)
        axes.set_xlim(-0.5, len(panel.ticks) - 0.5)
    elif len(xs) <= 10:
        ticks = _spaced_ticks(xs, width=width, log=panel.log_x)
        axes.set_xticks(ticks, [format_value(tick) for tick in ticks])
        axes.minorticks_off()
    elif panel.log_x:
        log_axis(axes.xaxis)


def _spaced_ticks(xs: Sequence[float], *, width: float, log: bool) -> list[float]:
    """Values, starting with the first, whose labels don't overlap on an axis `width` inches wide."""
    at = [math.log(x) if log else x for x in xs]
    inches = [0.9 * width * (position - at[0]) / ((at[-1] - at[0]) or 1.0) for position in at]
    kept: list[int] = []
    for i, x in enumerate(xs):
        if not kept or inches[i] - inches[kept[-1]] > 0.06 + 0.03 * len(format_value(x) + format_value(xs[kept[-1]])):
            kept.append(i)
    return [xs[i] for i in kept]
