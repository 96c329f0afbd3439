"""Effects against the rule: a row a cell with its interval, the rule's line, and the side that confirms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from normexp.claims.wording import Json, amount, cell_name, compared, factor, finite, text, unit, verdict_of
from normexp.plotting.colours import FAINT, INK
from normexp.plotting.style import WIDE, Canvas, clean, log_axis, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW, HEAD, FOOT, RIGHT = 0.17, 0.28, 0.42, 0.92
"""Inches: a cell's row, the space above a condition for its title, below it for its axis, and for the verdicts."""


@dataclass
class Forest:
    """The conditions that have cells, and the inches that they take. cut: whether an interval goes beyond its axis."""

    conditions: list[Json]
    height: float
    cut: bool = False


def forest(verdict: Json) -> Forest | None:
    conditions = [condition for condition in verdict.get("conditions") or () if condition.get("cells")]
    height = sum(HEAD + _height(condition) + FOOT for condition in conditions)
    return Forest(conditions, height) if conditions else None


def add_forest(drawn: Canvas, of: Forest, *, top: float) -> None:
    """Draw the conditions below each other. top: inches from the lower edge of the figure."""
    total = drawn.figure.get_figheight()
    names = [cell_name(cell) for condition in of.conditions for cell in condition["cells"]]
    left = min(2.6, max(0.58, 0.2 + 0.058 * max(map(len, names))))
    for condition in of.conditions:
        height = _height(condition)
        box = (left / WIDE, (top - HEAD - height) / total, (WIDE - left - RIGHT) / WIDE, height / total)
        of.cut |= _condition(drawn, drawn.figure.add_axes(box), condition, room=left)
        top -= HEAD + height + FOOT


def _height(condition: Json) -> float:
    return ROW * (len(condition["cells"]) + 0.4)


def _condition(drawn: Canvas, axes: Axes, condition: Json, *, room: float) -> bool:
    """Whether an interval goes beyond the axis."""
    cut = False
    times, cells = factor(condition), list(condition["cells"])
    line, margin = (_times(finite(condition.get(key)), times) for key in ("threshold", "margin"))
    margin = margin or 0.0
    edges = [] if line is None else [line - margin, line + margin] if condition.get("is") == "within" else [line]
    found = [tuple(_times(finite(cell.get(key)), times) for key in ("low", "effect", "high")) for cell in cells]
    effects, ends = [effect for _, effect, _ in found], [end for row in found for end in (row[0], row[2])]
    low, high, logarithmic = _limits(effects, ends, edges, ratio=condition.get("as") == "ratio")
    if logarithmic:
        axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(len(cells) - 0.3, -0.7)
    _rule(drawn, axes, str(condition.get("is")), edges, (low, high))
    for y, (cell, (left, effect, right)) in enumerate(zip(cells, found, strict=True)):
        word = verdict_of(cell)
        tip = [f"{cell_name(cell) or text(condition.get('what'))}: {amount(condition, cell)}, {word}"]
        if left is not None or right is not None:
            start, end = low if left is None else max(left, low), high if right is None else min(right, high)
            drawn.mark(axes.hlines(y, start, end, color=INK, linewidth=1.3), None, tip)
            beyond = [(low, "<")] * (left is None or left < low) + [(high, ">")] * (right is None or right > high)
            cut |= bool(beyond)
            for x, marker in beyond:
                axes.plot([x], [y], marker=marker, color=INK, clip_on=False)
        if effect is not None and low <= effect <= high:
            face = INK if word in ("confirmed", "refuted") else "#ffffff"
            (mark,) = axes.plot(
                [effect], [y], marker="o", color=INK, markerfacecolor=face, markersize=4.5, linestyle="none", zorder=4
            )
            drawn.mark(mark, None, tip)
        axes.text(1.015, y, word, transform=axes.get_yaxis_transform(), va="center", fontsize=7)
    axes.set_yticks(range(len(cells)), [short(clean(cell_name(cell)), int((room - 0.1) / 0.055)) for cell in cells])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    if logarithmic:
        log_axis(axes.xaxis)
    else:
        axes.locator_params(axis="x", nbins=8)
    aside = "" if condition.get("decides") else " (reported, does not decide)"
    title = short(clean(text(condition.get("what"))), 105 - len(aside)) + aside
    axes.set_title(
        title, loc="left", pad=3, x=-room / (WIDE - room - RIGHT) + 0.02, y=1.0, fontsize=7.5, fontweight="bold"
    )
    named = unit(condition).strip()
    axes.set_xlabel(short(clean(compared(condition) + (f" ({named})" if named else "")), 95), labelpad=2, fontsize=7)
    return cut


def _rule(drawn: Canvas, axes: Axes, direction: str, edges: Sequence[float], limits: tuple[float, float]) -> None:
    if not edges:
        return
    start, end = {">=": (edges[0], limits[1]), "<=": (limits[0], edges[0])}.get(direction, (edges[0], edges[-1]))
    drawn.mark(axes.axvspan(start, end, facecolor=FAINT, alpha=0.55, linewidth=0, zorder=0), None)
    for edge in edges:
        axes.axvline(edge, color=INK, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)


def _limits(
    effects: Sequence[float | None], ends: Sequence[float | None], edges: Sequence[float], *, ratio: bool
) -> tuple[float, float, bool]:
    """Those of the axis, and whether it is logarithmic: all effects and the rule are in it, and of intervals as much as doesn't
    flatten all else."""
    inner = [*(effect for effect in effects if effect is not None), *edges]
    around = [end for end in ends if end is not None]
    if not inner:
        return 0.0, 1.0, False
    if ratio and min(inner) > 0:
        logs = [math.log(end) if end > 0 else -math.inf for end in around]
        low, high = _range([math.log(value) for value in inner], logs, least=math.log(3))
        if high - low > math.log(8):
            return math.exp(low), math.exp(high), True
    return *_range(inner, around, least=0.5 * max(map(abs, inner)) or 1.0), False


def _range(inner: Sequence[float], around: Sequence[float], *, least: float) -> tuple[float, float]:
    """All of the first, of the second as much as two times their span or the least, and some room."""
    low, high = min(inner), max(inner)
    reach = max(2 * (high - low), least)
    lowest, highest = max(min([low, *around]), low - reach), min(max([high, *around]), high + reach)
    room = 0.06 * (highest - lowest) or 0.1 * abs(highest) or 1.0
    return lowest - room, highest + room


def _times(value: float | None, times: float) -> float | None:
    return None if value is None else value * times
