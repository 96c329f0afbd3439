"""Line charts in characters: Braille patterns in color, or letters where lines would look alike or characters are missing."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

COLORS = (*(f"bright_{name}" for name in ("blue", "yellow", "green", "magenta", "cyan", "red")), "white", "blue")

LETTERS = "abcdefgh"

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bit of each dot of a Braille character, by row and column; the characters start at U+2800."""


class Line(NamedTuple):
    """x: ascending, x and y: finite and of the same length."""

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """Range of an axis; of the exponents, if it is logarithmic."""

    low: float
    high: float
    logarithmic: bool = False

    def position(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map values to [0, 1]."""
        scaled = np.log10(values) if self.logarithmic else values
        return (scaled - self.low) / (self.high - self.low)

    def ticks(self, limit: int) -> list[float]:
        """At most `limit` round values in the range; powers of ten, if it is logarithmic."""
        span = self.high - self.low
        steps = (m * 10.0**e for e in range(math.floor(math.log10(span)) - 1, 400) for m in (1, 2, 5))
        step = next(step for step in steps if span / step < limit and (step >= 1 or not self.logarithmic))
        values = [i * step for i in range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)]
        return [10.0**value for value in values] if self.logarithmic else values


def fit_axis(values: NDArray[np.float64], *, allow_log: bool = True) -> Axis:
    """Axis over all values; logarithmic if they are positive and span more than a factor of 100."""
    low, high = float(values.min()), float(values.max())
    if allow_log and low > 0 and high > 100 * low:
        return Axis(math.log10(low), math.log10(high), logarithmic=True)
    margin = 0.0 if high > low else abs(high) / 10 or 1.0
    return Axis(low - margin, high + margin)


def chart(lines: Sequence[Line], *, width: int, height: int, color: bool, ascii_only: bool, y_axis: Axis) -> list[Text]:
    """Draw lines with axes and a legend. width and height: in characters, without legend. color: draw Braille patterns in one
    color per line. Otherwise, letters tell the lines apart."""
    braille = not ascii_only and (color or len(lines) == 1)
    x_axis = fit_axis(np.concatenate([line.x for line in lines]), allow_log=False)
    ticks = np.array(y_axis.ticks(min(6, height)))
    at = np.rint((1 - y_axis.position(ticks)) * (height - 1)).astype(int).tolist()
    y_labels = {row: f"{tick:.4g}" for row, tick in zip(at, ticks.tolist(), strict=True)}
    left = max(map(len, y_labels.values()), default=0)
    columns = width - left - 2
    characters, owners = _paint(lines, x_axis, y_axis, columns=columns, rows=height, braille=braille)
    bar, corner, dash = "|+-" if ascii_only else "┤└─"
    rows = []
    for i in range(height):
        tick = bar if i in y_labels or ascii_only else "│"
        row = Text(f"{y_labels.get(i, ''):>{left}} {tick}")
        for character, owner in zip(characters[i].tolist(), owners[i].tolist(), strict=True):
            row.append(chr(character), style=COLORS[owner] if color and owner >= 0 else "")
        rows.append(row)
    rows.append(Text(f"{'':>{left}} {corner}{dash * columns}"))
    rows.append(Text(" " * (left + 2) + _x_labels(x_axis, columns)))
    for i, line in enumerate(lines):
        mark = ("⠤⠤" if braille else LETTERS[i]) + " "
        rows.append(Text.assemble(" " * (left + 2), (mark, COLORS[i] if color else ""), line.name))
    return rows


def _paint(
    lines: Sequence[Line], x_axis: Axis, y_axis: Axis, *, columns: int, rows: int, braille: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Code points of characters, and the index of the line that each shows, or -1; earlier lines cover later ones."""
    wide, high = (2, 4) if braille else (1, 1)
    bits = np.zeros((rows, columns), dtype=int)
    owner = np.full((rows, columns), -1)
    for i, line in reversed(list(enumerate(lines))):
        for x, top, bottom in _spans(line, x_axis, y_axis, width=columns * wide, height=rows * high):
            for y in range(top, bottom + 1):
                bits[y // high, x // wide] |= DOTS[y % high][x % wide]
                owner[y // high, x // wide] = i
    return np.where(owner < 0, ord(" "), bits + 0x2800 if braille else owner + ord(LETTERS[0])), owner


def _spans(line: Line, x_axis: Axis, y_axis: Axis, *, width: int, height: int) -> Iterator[tuple[int, int, int]]:
    """Column, and highest and lowest dot in it, counted from the upper left; consecutive columns are connected."""
    at = x_axis.position(line.x) * (width - 1)
    dots = np.arange(math.ceil(at[0] - 0.5), math.floor(at[-1] + 0.5) + 1)
    heights = np.interp(dots, at, y_axis.position(line.y))
    y = np.clip(np.rint((1 - heights) * (height - 1)), 0, height - 1).astype(int).tolist()
    for x, before, now in zip(dots.tolist(), [y[0], *y], y, strict=False):
        top, bottom = sorted((before + (now > before) - (now < before), now))
        yield x, top, bottom


def _x_labels(axis: Axis, columns: int) -> str:
    labels = [" "] * columns
    free = 0
    for tick in axis.ticks(max(2, min(7, columns // 5))):
        text = f"{tick:.6g}"
        middle = round((tick - axis.low) / (axis.high - axis.low) * (columns - 1))
        start = min(max(middle - len(text) // 2, 0), columns - len(text))
        if start >= free:
            labels[start : start + len(text)] = text
            free = start + len(text) + 1
    return "".join(labels).rstrip()
