"""Forest plot of a rule: one row per cell with its effect and interval, between the lines that confirm and refute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from normexp.claims.rule_words import describe_comparison
from normexp.claims.verdict import Cell, ConditionVerdict, Outcome
from normexp.claims.wording import cell_label, edges, format_effect, percent_factor, scaled, unit
from normexp.plotting.colors import FAINT, INK
from normexp.plotting.labels import safe_label, truncate
from normexp.plotting.style import WIDE, Canvas, log_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW, TITLE, BOTTOM, RIGHT = 0.17, 0.28, 0.42, 1.12
"""Inches: height of a cell's row, of a condition's title and of its axis; width of the column of outcomes."""

MARKERS: dict[Outcome, str] = {"confirmed": "o", "refuted": "X", "smaller than claimed": "D"}
"""Filled markers of what is decided; anything else is an open circle."""


@dataclass(frozen=True)
class Scale:
    """Limits of the axis of effects, in the unit that is shown."""

    low: float
    high: float
    logarithmic: bool

    def position(self, value: float) -> float:
        """0 at the lower limit, 1 at the upper one."""
        if not self.logarithmic:
            return (value - self.low) / (self.high - self.low)
        return math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)


def fit_scale(condition: ConditionVerdict) -> Scale | None:
    """The axis for a condition's effects and both of its lines. None without effects."""
    factor, cells = percent_factor(condition), condition.cells
    effects = [scaled(cell.effect, factor) for cell in cells]
    ends = [scaled(end, factor) for cell in cells for end in (cell.low, cell.high)]
    lines = edges(condition, condition.confirm, condition.refute)
    if all(effect is None for effect in effects):
        return None
    return Scale(*axis_limits(effects, ends, lines, ratio=condition.comparison == "ratio"))


def forest_height(conditions: Sequence[ConditionVerdict]) -> float:
    """Inches that the conditions need, drawn below each other."""
    return sum(TITLE + _rows_height(condition) + BOTTOM for condition in conditions)


def draw_forest(canvas: Canvas, conditions: Sequence[ConditionVerdict]) -> bool:
    """Draw the conditions at the lower edge of the figure. Returns whether an interval was cut at an end of its axis."""
    top, total = forest_height(conditions), canvas.figure.get_figheight()
    longest = max(len(cell_label(cell)) for condition in conditions for cell in condition.cells)
    left = min(2.6, max(0.58, 0.2 + 0.058 * longest))
    cut = False
    for condition in conditions:
        height = _rows_height(condition)
        box = (left / WIDE, (top - TITLE - height) / total, (WIDE - left - RIGHT) / WIDE, height / total)
        cut |= _draw_condition(canvas, canvas.figure.add_axes(box), condition, left=left)
        top -= TITLE + height + BOTTOM
    return cut


def axis_limits(
    effects: Sequence[float | None], ends: Sequence[float | None], edges: Sequence[float], *, ratio: bool
) -> tuple[float, float, bool]:
    """Limits of the axis, and whether it is logarithmic.

    All effects and the rule's edges are inside. Ends of intervals are too, unless they would flatten everything else.
    """
    inner = [*(effect for effect in effects if effect is not None), *edges]
    outer = [end for end in ends if end is not None]
    if not inner:
        return 0.0, 1.0, False
    if ratio and min(inner) > 0:
        logs = [math.log(end) if end > 0 else -math.inf for end in outer]
        low, high = _padded_range([math.log(value) for value in inner], logs, min_reach=math.log(3))
        if high - low > math.log(8):
            return math.exp(low), math.exp(high), True
    return *_padded_range(inner, outer, min_reach=0.5 * max(map(abs, inner)) or 1.0), False


def _padded_range(inner: Sequence[float], outer: Sequence[float], *, min_reach: float) -> tuple[float, float]:
    """A range with padding around `inner`, and around `outer` as far as twice the span of `inner` (at least min_reach) away."""
    low, high = min(inner), max(inner)
    reach = max(2 * (high - low), min_reach)
    lowest, highest = max(min([low, *outer]), low - reach), min(max([high, *outer]), high + reach)
    padding = 0.06 * (highest - lowest) or 0.1 * abs(highest) or 1.0
    return lowest - padding, highest + padding


def _rows_height(condition: ConditionVerdict) -> float:
    return ROW * (len(condition.cells) + 0.4)


def _draw_condition(canvas: Canvas, axes: Axes, condition: ConditionVerdict, *, left: float) -> bool:
    """Draw one condition. Returns whether an interval was cut. left: left margin in inches, for the cells' labels."""
    cells, scale = condition.cells, fit_scale(condition) or Scale(0.0, 1.0, logarithmic=False)
    if scale.logarithmic:
        axes.set_xscale("log")
    axes.set_xlim(scale.low, scale.high)
    axes.set_ylim(len(cells) - 0.3, -0.7)
    _shade_sides(canvas, axes, condition)
    cut = [_draw_cell(canvas, axes, condition, cell, y) for y, cell in enumerate(cells)]
    labels = [truncate(safe_label(cell_label(cell)), int((left - 0.1) / 0.055)) for cell in cells]
    axes.set_yticks(range(len(cells)), labels)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    if scale.logarithmic:
        log_axis(axes.xaxis)
    else:
        axes.locator_params(axis="x", nbins=8)
    suffix = "" if condition.decides else " (doesn't count toward the verdict)"
    title = truncate(safe_label(condition.what), 105 - len(suffix)) + suffix
    shift = -left / (WIDE - left - RIGHT) + 0.02
    axes.set_title(title, loc="left", pad=3, x=shift, y=1.0, fontsize=7.5, fontweight="bold")
    name = f" ({unit(condition).strip()})" if unit(condition) else ""
    axes.set_xlabel(truncate(safe_label(describe_comparison(condition) + name), 95), labelpad=2, fontsize=7)
    return any(cut)


def _shade_sides(canvas: Canvas, axes: Axes, condition: ConditionVerdict) -> None:
    """Draw both lines; fill the side that confirms, and hatch the one that refutes."""
    low, high = axes.get_xlim()
    confirm, refute = edges(condition, condition.confirm), edges(condition, condition.refute)
    sides = {">=": ([(c, high) for c in confirm], [(low, r) for r in refute])}
    sides["<="] = [(low, c) for c in confirm], [(r, high) for r in refute]
    within = (
        list(zip(confirm[::2], confirm[1::2], strict=False)),
        [(low, r) for r in refute[:1]] + [(r, high) for r in refute[1:]],
    )
    fills, hatches = sides.get(condition.direction, within)
    for side in fills:
        canvas.mark(axes.axvspan(*side, facecolor=FAINT, alpha=0.6, linewidth=0, zorder=0), None)
    for side in hatches:
        span = axes.axvspan(*side, facecolor="none", edgecolor=FAINT, hatch="////", linewidth=0, zorder=0)
        canvas.mark(span, None)
    for lines, dashes in ((confirm, "solid"), (refute, (0, (1.2, 1.4)))):
        for x in lines:
            axes.axvline(x, color=INK, linewidth=0.9, linestyle=dashes, zorder=1)


def _draw_cell(canvas: Canvas, axes: Axes, condition: ConditionVerdict, cell: Cell, y: float) -> bool:
    """Draw the effect and interval of a cell. Returns whether the interval was cut or is open at an end."""
    low, high = map(float, axes.get_xlim())
    factor, cut = percent_factor(condition), False
    start, effect, stop = (scaled(number, factor) for number in (cell.low, cell.effect, cell.high))
    tip = [f"{cell_label(cell) or condition.what}: {format_effect(condition, cell)}, {cell.outcome}"]
    if start is not None or stop is not None:
        visible = low if start is None else max(start, low), high if stop is None else min(stop, high)
        canvas.mark(axes.hlines(y, *visible, color=INK, linewidth=1.3), None, tip)
        cut_left, cut_right = start is None or start < low, stop is None or stop > high
        for x, marker in [(low, "<")] * cut_left + [(high, ">")] * cut_right:
            axes.plot([x], [y], marker=marker, color=INK, clip_on=False)
            cut = True
    if effect is not None and low <= effect <= high:
        face = INK if cell.outcome in MARKERS else "#ffffff"
        marker = {">": ">", "<": "<"}.get(cell.bound, MARKERS.get(cell.outcome, "o"))
        (drawn,) = axes.plot([effect], [y], marker, color=INK, markerfacecolor=face, markersize=4.5, zorder=4)
        canvas.mark(drawn, None, tip)
    axes.text(1.015, y, cell.outcome, transform=axes.get_yaxis_transform(), va="center", fontsize=7)
    return cut
