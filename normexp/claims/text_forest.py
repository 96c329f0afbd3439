"""Forest plot in characters: a row per cell with its effect and interval, between the lines that confirm and refute."""

from rich.console import Console
from rich.text import Text

from normexp.claims.forest_plot import Scale, fit_scale
from normexp.claims.verdict import Cell, ConditionVerdict
from normexp.claims.wording import cell_label, edges, percent_factor, scaled, unit

MAX_ROWS, MIN_WIDTH, MAX_WIDTH = 12, 30, 70
"""Conditions with more cells have no plot in the terminal; limits on the width of its axis, in characters."""

KEY = "│ confirms  ┊ refutes  ● confirmed or refuted  ○ neither"

ASCII = str.maketrans("●○─┊│◀▶", "o.-:|<>")


def print_forest(console: Console, condition: ConditionVerdict) -> None:
    """Print the plot, if its cells fit and have effects."""
    labels = [cell_label(cell) for cell in condition.cells]
    left = max(map(len, labels), default=0) + 2
    width = min(MAX_WIDTH, console.width - left - 4)
    scale = fit_scale(condition)
    if scale is None or len(labels) > MAX_ROWS or width < MIN_WIDTH:
        return
    rows = [
        f"{label:<{left}}{_row(condition, cell, scale, width)}"
        for label, cell in zip(labels, condition.cells, strict=True)
    ]
    low, high = f"{scale.low:.3g}", f"{scale.high:.3g}{unit(condition)}"
    rows += [f"{'':{left}}{low}{high:>{width - len(low)}}", KEY]
    for row in rows:
        text = f"  {row}".rstrip()
        console.print(
            Text(text.translate(ASCII) if console.options.ascii_only else text), no_wrap=True, overflow="crop"
        )


def _row(condition: ConditionVerdict, cell: Cell, scale: Scale, width: int) -> str:
    """One cell. Ends of the interval beyond the axis, and open ones, are arrows."""
    factor = percent_factor(condition)
    low, effect, high = (scaled(number, factor) for number in (cell.low, cell.effect, cell.high))
    row = [" "] * width

    def column(value: float) -> int:
        return min(max(round(scale.position(value) * (width - 1)), 0), width - 1)

    if effect is not None and not (low is None and high is None and not cell.bound):
        start, stop = column(scale.low if low is None else low), column(scale.high if high is None else high)
        row[start : stop + 1] = "─" * (stop + 1 - start)
        if low is None or low < scale.low:
            row[0] = "◀"
        if high is None or high > scale.high:
            row[-1] = "▶"
    for sign, line in (("┊", condition.refute), ("│", condition.confirm)):
        for edge in edges(condition, line):
            row[column(edge)] = sign
    if effect is not None:
        row[column(effect)] = "●" if cell.outcome in ("confirmed", "refuted") else "○"
    return "".join(row)
