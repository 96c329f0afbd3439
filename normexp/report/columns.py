"""Tables on the terminal: as many columns as the width holds, with headers in one piece."""

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

MAX_WIDTH = 24
"""Characters of a column; longer cells are folded."""

GAP = 2
"""Spaces between columns."""


@dataclass(frozen=True)
class Column:
    """head: never broken. need: the columns with the greatest are kept. numeric: right-aligned."""

    head: str
    cells: Sequence[str]
    need: float = math.inf
    numeric: bool = False

    @property
    def width(self) -> int:
        longest = max(map(len, self.cells), default=0)
        return max(len(self.head), min(longest, MAX_WIDTH))


def fit(columns: Sequence[Column], width: int) -> tuple[list[Column], list[str]]:
    """The columns that fit, in the given order, and the heads of the others."""
    kept: list[Column] = []
    for column in sorted(columns, key=lambda column: -column.need):
        room = width - sum(other.width + GAP for other in kept)
        if column.need == math.inf or column.width <= room:
            kept.append(column)
    shown = [column for column in columns if column in kept]
    return shown, [column.head for column in columns if column not in kept]


def widen(console: Console) -> None:
    """Give tables all the room they need in a file or pipe, unless COLUMNS is set."""
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 10_000


def plain_table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")


def layout(columns: Sequence[Column], styles: Sequence[str]) -> Table:
    """Lay the columns out. styles: of the rows."""
    table = plain_table()
    for column in columns:
        width = column.width if column.head else None
        table.add_column(Text(column.head), justify="right" if column.numeric else "left", overflow="fold", width=width)
    for i, style in enumerate(styles):
        table.add_row(*(Text(column.cells[i]) for column in columns), style=style)
    return table


def need(rank: int, cells: Sequence[str]) -> float:
    """Need of a column: rank plus the share of rows that differ from its most frequent value. Constant columns come last."""
    variety = 1 - max(Counter(cells).values(), default=0) / max(len(cells), 1)
    return rank + (variety or -100)
