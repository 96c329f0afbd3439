"""Heat map of two swept keys on the terminal: one row per norm, one column per value of the other key, colored by the mean."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from normexp.console import print_line
from normexp.metrics import has_direction, higher_is_better, is_fraction, metric_axis
from normexp.report.aggregate import Row
from normexp.report.groups import choices, format_value

VIRIDIS = "440154 482878 3e4a89 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725".split()  # noqa: SIM905
"""The color map at ten even positions."""


class Cell(NamedTuple):
    """A cell. short: its text in fewer characters, for narrow consoles; style: its style if it has no mean."""

    text: str = "-"
    short: str = "-"
    mean: float | None = None
    style: str = "dim"


def show_heatmap(console: Console, rows: Sequence[Row], keys: Sequence[str], metric: str) -> None:
    """Print the heat map of a grouping by two keys: only a message if it is too wide, nothing if the runs form no grid."""
    down, across = keys  # the norm goes down; without one, numbers go across
    numeric = all(isinstance(row.group.values[down], int | float) for row in rows)
    if across == "norm" or (down != "norm" and numeric):
        down, across = across, down
    groups = [row.group for row in rows]
    names, heads = (list(dict.fromkeys(map(format_value, choices(groups, key)))) for key in (down, across))
    cells = {tuple(format_value(row.group.values[key]) for key in (down, across)): _cell(row, metric) for row in rows}
    if len(rows) <= max(len(names), len(heads)):
        return  # a diagonal
    better = "better" if has_direction(metric) else "larger"
    bright = f", brighter is {better}" if console.color_system and not console.no_color else ""
    console.print()
    console.print(Text(f"{metric_axis(metric)}, rows: {down}, columns: {across}{bright}", style="bold"))
    left = max(map(len, [down, *names])) + 1
    long = max(map(len, [*heads, *(cell.text for cell in cells.values())])) + 2
    brief = max(map(len, [*heads, *(cell.short for cell in cells.values())])) + 1
    room = console.width - left
    if room < brief * len(heads):
        print_line(console, f"{len(heads)} columns don't fit; use a wider terminal, or normexp report --html.")
        return
    width = long if room >= long * len(heads) else brief
    shade = _shades([cell.mean for cell in cells.values() if cell.mean is not None], metric)
    console.print(Text(" " * left + "".join(f"{head:>{width - 1}} " for head in heads)))
    for name in names:
        line = Text(name.ljust(left))
        for head in heads:
            cell = cells.get((name, head), Cell())
            style = cell.style if cell.mean is None else _style(shade(cell.mean))
            line.append(f"{cell.text if width == long else cell.short:>{width - 1}} ", style=style)
        console.print(line)
    if any(cell.text.endswith("*") for cell in cells.values()):
        console.print("* mean over some of the runs only; see the table", style="dim")


def _cell(row: Row, metric: str) -> Cell:
    if row.mean is None:
        ends = {"diverged": "div", "failed": "fail", "killed": "fail", "interrupted": "stop", "running": "run"}
        text = next((short for state, short in ends.items() if row.states.get(state)), "-")
        return Cell(text, text, style={"div": "yellow", "fail": "red"}.get(text, "dim"))
    mark = "*" if row.n < len(row.group.runs) or row.so_far else ""
    if is_fraction(metric):
        return Cell(f"{100 * row.mean:.1f}{mark}", f"{100 * row.mean:.0f}{mark}", row.mean)
    return Cell(f"{row.mean:.3g}{mark}", f"{row.mean:.2g}{mark}", row.mean)


def _shades(means: Sequence[float], metric: str) -> Callable[[float], float]:
    """Map from a mean to [0, 1], 1 being best; logarithmic if positive means span more than a factor of 100."""
    low, high = min(means), max(means)
    scale = math.log if not is_fraction(metric) and low > 0 and high > 100 * low else float
    low, high = scale(low) / 2, scale(high) / 2  # halved, because the difference of two floats may overflow

    def shade(mean: float) -> float:
        if not high > low:
            return 0.5
        share = (scale(mean) / 2 - low) / (high - low)
        return share if higher_is_better(metric) or not has_direction(metric) else 1 - share

    return shade


def _style(shade: float) -> str:
    """Rich style of a shade: its background color, with black or white text for contrast."""
    position = shade * (len(VIRIDIS) - 1)
    below = min(int(position), len(VIRIDIS) - 2)
    low, high = bytes.fromhex(VIRIDIS[below]), bytes.fromhex(VIRIDIS[below + 1])
    red, green, blue = (round(a + (b - a) * (position - below)) for a, b in zip(low, high, strict=True))
    ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 110 else "bright_white"
    return f"{ink} on #{red:02x}{green:02x}{blue:02x}"
