"""Forest plot of a rule: one row per cell with its effect and interval, the threshold, and the side that confirms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from normexp.claims.verdict import ConditionVerdict
from normexp.claims.wording import cell_label, describe_comparison, format_effect, percent_factor, scaled, unit
from normexp.plotting.colors import FAINT, INK
from normexp.plotting.labels import safe_label, truncate
from normexp.plotting.style import WIDE, Canvas, log_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW, TITLE, BOTTOM, RIGHT = 0.17, 0.28, 0.42, 0.92
"""Inches: height of a cell's row, of a condition's title and of its axis; width of the column of outcomes."""


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
    factor, cells = percent_factor(condition), condition.cells
    line, margin = scaled(condition.threshold, factor), scaled(condition.margin, factor) or 0.0
    edges = [] if line is None else [line - margin, line + margin] if condition.direction == "within" else [line]
    rows = [tuple(scaled(number, factor) for number in (cell.low, cell.effect, cell.high)) for cell in cells]
    effects, ends = [effect for _, effect, _ in rows], [end for start, _, stop in rows for end in (start, stop)]
    low, high, logarithmic = axis_limits(effects, ends, edges, ratio=condition.comparison == "ratio")
    if logarithmic:
        axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(len(cells) - 0.3, -0.7)
    if edges:  # shade the side that confirms
        side = {">=": (edges[0], high), "<=": (low, edges[0])}.get(condition.direction, (edges[0], edges[-1]))
        canvas.mark(axes.axvspan(*side, facecolor=FAINT, alpha=0.55, linewidth=0, zorder=0), None)
    for edge in edges:
        axes.axvline(edge, color=INK, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
    cut = False
    for y, (cell, (start, effect, stop)) in enumerate(zip(cells, rows, strict=True)):
        tip = [f"{cell_label(cell) or condition.what}: {format_effect(condition, cell)}, {cell.outcome}"]
        if start is not None or stop is not None:
            visible = low if start is None else max(start, low), high if stop is None else min(stop, high)
            canvas.mark(axes.hlines(y, *visible, color=INK, linewidth=1.3), None, tip)
            cut_left, cut_right = start is None or start < low, stop is None or stop > high
            for x, marker in [(low, "<")] * cut_left + [(high, ">")] * cut_right:
                axes.plot([x], [y], marker=marker, color=INK, clip_on=False)
                cut = True
        if effect is not None and low <= effect <= high:
            face = INK if cell.outcome in ("confirmed", "refuted") else "#ffffff"
            (circle,) = axes.plot([effect], [y], "o", color=INK, markerfacecolor=face, markersize=4.5, zorder=4)
            canvas.mark(circle, None, tip)
        axes.text(1.015, y, cell.outcome, transform=axes.get_yaxis_transform(), va="center", fontsize=7)
    labels = [truncate(safe_label(cell_label(cell)), int((left - 0.1) / 0.055)) for cell in cells]
    axes.set_yticks(range(len(cells)), labels)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    if logarithmic:
        log_axis(axes.xaxis)
    else:
        axes.locator_params(axis="x", nbins=8)
    suffix = "" if condition.decides else " (doesn't count toward the verdict)"
    title = truncate(safe_label(condition.what), 105 - len(suffix)) + suffix
    shift = -left / (WIDE - left - RIGHT) + 0.02
    axes.set_title(title, loc="left", pad=3, x=shift, y=1.0, fontsize=7.5, fontweight="bold")
    name = f" ({unit(condition).strip()})" if unit(condition) else ""
    axes.set_xlabel(truncate(safe_label(describe_comparison(condition) + name), 95), labelpad=2, fontsize=7)
    return cut
