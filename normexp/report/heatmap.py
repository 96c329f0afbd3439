"""Heat map of two swept keys on the terminal: norms down, the other key across, coloured by the mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from normexp.report.aggregate import Row
from normexp.report.groups import format_value, sort_key
from normexp.report.metrics import higher_is_better, is_fraction, metric_title

VIRIDIS = "440154 482878 3e4a89 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725".split()  # noqa: SIM905
"""The colour map at ten even positions."""


@dataclass(frozen=True)
class Cell:
    """A cell. short: its text in fewer characters, for narrow consoles."""

    text: str
    short: str
    mean: float | None


def show_heatmap(console: Console, rows: Sequence[Row], keys: Sequence[str], metric: str) -> None:
    """Print the heat map of a grouping by two keys: only a message if it is too wide, nothing if the runs form no grid."""
    down, across = _axes(rows, keys)
    names = _values(down, rows)
    heads = _values(across, rows)
    cells = {
        (format_value(row.group.values[down]), format_value(row.group.values[across])): _cell(row, metric)
        for row in rows
    }
    unit = ", in percent" if is_fraction(metric) else ""
    if len(rows) <= max(len(names), len(heads)):
        return  # a diagonal
    bright = "; the brighter, the better" if console.color_system and not console.no_color else ""
    console.print()
    console.print(Text(f"{metric_title(metric)}{unit}, {down} down, {across} across{bright}", style="bold"))
    left = max(len(down), *(len(name) for name in names)) + 1
    long = max(len(text) for text in [*heads, *(cell.text for cell in cells.values())]) + 2
    brief = max(len(text) for text in [*heads, *(cell.short for cell in cells.values())]) + 1
    room = console.width - left
    if room < brief * len(heads):
        console.print(
            f"It has {len(heads)} columns, too many for this width: --html and --figures draw it.", soft_wrap=True
        )
        return
    width = long if room >= long * len(heads) else brief
    shade = _shades([cell.mean for cell in cells.values() if cell.mean is not None], metric)
    console.print(Text(" " * left + "".join(_padded(head, width) for head in heads)))
    for name in names:
        line = Text(name.ljust(left))
        for head in heads:
            cell = cells.get((name, head), Cell("-", "-", None))
            style = "dim" if cell.mean is None else _style(shade(cell.mean))
            style = "yellow" if cell.text == "div" else "red" if cell.text == "fail" else style
            line.append(_padded(cell.text if width == long else cell.short, width), style=style)
        console.print(line)
    if any(cell.text.endswith("*") for cell in cells.values()):
        console.print("* some runs are not in the mean: the table says why", style="dim")


def _padded(text: str, width: int) -> str:
    return f"{text:>{width - 1}} "


def _axes(rows: Sequence[Row], keys: Sequence[str]) -> tuple[str, str]:
    """The keys down and across: the norm goes down; without one, numbers go across."""
    first, second = keys
    if second == "norm":
        return second, first
    numeric = all(isinstance(row.group.values[first], int | float) for row in rows)
    return (second, first) if first != "norm" and numeric else (first, second)


def _values(key: str, rows: Sequence[Row]) -> list[str]:
    values: dict[str, Any] = {format_value(row.group.values[key]): row.group.values[key] for row in rows}
    return sorted(values, key=lambda name: sort_key(key, values[name]))


def _cell(row: Row, metric: str) -> Cell:
    if row.mean is None:
        ends = {"diverged": "div", "failed": "fail", "killed": "fail", "interrupted": "stop", "running": "run"}
        text = next((short for state, short in ends.items() if row.states.get(state)), "-")
        return Cell(text, text, None)
    mark = "*" if row.n < len(row.group.runs) or row.so_far else ""
    if is_fraction(metric):
        return Cell(f"{100 * row.mean:.1f}{mark}", f"{100 * row.mean:.0f}{mark}", row.mean)
    return Cell(f"{row.mean:.3g}{mark}", f"{row.mean:.2g}{mark}", row.mean)


def _shades(means: Sequence[float], metric: str) -> Callable[[float], float]:
    """Map from a mean to [0, 1], 1 being best; logarithmic if positive means span more than a factor of 100."""
    logarithmic = bool(means) and not is_fraction(metric) and min(means) > 0 and max(means) > 100 * min(means)
    scale = math.log if logarithmic else float
    low, high = (scale(min(means)), scale(max(means))) if means else (0.0, 0.0)
    better = higher_is_better(metric)

    def shade(mean: float) -> float:
        if not high > low:
            return 0.5
        # halved, because the difference of two floats may overflow
        share = (scale(mean) / 2 - low / 2) / (high / 2 - low / 2)
        return share if better else 1 - share

    return shade


def _style(shade: float) -> str:
    """Rich style of a shade: its background colour, with black or white text for contrast."""
    position = shade * (len(VIRIDIS) - 1)
    below = min(int(position), len(VIRIDIS) - 2)
    ends = [[int(VIRIDIS[below + i][j : j + 2], 16) for j in (0, 2, 4)] for i in (0, 1)]
    red, green, blue = (round(a + (b - a) * (position - below)) for a, b in zip(*ends, strict=True))
    ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 110 else "bright_white"
    return f"{ink} on #{red:02x}{green:02x}{blue:02x}"
