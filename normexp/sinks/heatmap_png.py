"""Draw a grid of heat maps with Pillow, in milliseconds, because training waits for it.

Matplotlib takes 0.3 s to import and a second for the panels of a ResNet, longer than the training between two evaluations.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from normexp.records import Picture

DECADES = 3.0
"""Powers of ten between the darkest colour and white."""

WIDTH, MARGIN, GAP = 280, 80, 60
"""Pixels: width of a panel, of the layer names at the left, and of the space for numbers left of each panel."""

TOP, BOTTOM, PITCH = 30, 46, 14
"""Pixels above and below all panels, and between two rows."""

INK, FAINT = 255, 150
"""Darkness of text and of frames, of 255."""

SHADES, MEDIAN, GREY = 239, 239, 240
"""Palette: SHADES colours for the heat maps, then the median's colour, then 16 greys from white to black. A palette image is
compressed in a sixth of the time of an RGB one."""

CAPTION = "dark: dense; white: less than 1/1000 of the densest; grey: nothing finite; line: median"


@dataclass(frozen=True)
class Panel:
    """The heat map of one tag. density: (bins, S) for the snapshots at the S `steps`, lowest bin first; medians: (S,)."""

    steps: Sequence[int]
    low: float
    high: float
    density: NDArray[np.floating]
    medians: NDArray[np.floating]


def row_height(rows: int) -> int:
    """Height of a panel in pixels. Shrinks with the number of rows, so that viewers can open the picture."""
    return max(24, min(96, 6000 // rows - PITCH))


def draw(columns: Sequence[str], rows: Mapping[str, Sequence[Panel | None]]) -> Picture:
    """Draw panels in a grid, with titles, value ranges and steps. columns: titles. rows: a panel per column, by row name."""
    height = row_height(len(rows))
    lefts = [MARGIN + GAP + j * (WIDTH + GAP) for j in range(len(columns))]
    size = lefts[-1] + WIDTH + 20, TOP + len(rows) * (height + PITCH) + BOTTOM
    colours = np.zeros(size[::-1], dtype=np.uint8)
    ink = Image.new("L", size)
    pen = ImageDraw.Draw(ink)
    for title, left in zip(columns, lefts, strict=True):
        pen.text((left, 8), title, INK, _font(14))
    last = max(panel.steps[-1] for row in rows.values() for panel in row if panel)
    for i, (name, row) in enumerate(rows.items()):
        top = TOP + i * (height + PITCH)
        pen.text((8, top + height / 2), name, INK, _font(13), anchor="lm")
        for panel, left in zip(row, lefts, strict=True):
            if panel:
                colours[top : top + height, left : left + WIDTH] = _heat(panel, last, height)
                pen.rectangle((left - 1, top - 1, left + WIDTH, top + height), outline=FAINT)
                for value, y, anchor in ((panel.high, top, "ra"), (panel.low, top + height, "rd")):
                    pen.text((left - 5, y), f"{value:.3g}", FAINT, _font(11), anchor=anchor)
    below = TOP + len(rows) * (height + PITCH) - 8
    for left in lefts:
        for text, x, anchor in (("0", left, "la"), ("step", left + WIDTH / 2, "ma"), (str(last), left + WIDTH, "ra")):
            pen.text((x, below), text, FAINT, _font(11), anchor=anchor)
    pen.text((lefts[0], below + 24), CAPTION, FAINT, _font(12))
    inked = np.asarray(ink)
    image = Image.fromarray(np.where(inked > 0, GREY + inked // 16, colours))
    image.putpalette(_palette())
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=3)
    return Picture(file.getvalue(), *size)


def _nearest_snapshots(panel: Panel, last: int) -> NDArray[np.integer]:
    """Index of the snapshot that each column of pixels shows, (WIDTH,)."""
    at = (np.arange(WIDTH) + 0.5) * max(last, 1) / WIDTH
    steps = np.array(panel.steps)
    return np.searchsorted((steps[1:] + steps[:-1]) / 2, at)


def _heat(panel: Panel, last: int, height: int) -> NDArray[np.uint8]:
    """Palette indices, (height, WIDTH)."""
    columns = _nearest_snapshots(panel, last)
    highest = panel.density.max() or 1.0  # 0 if there were no finite values
    with np.errstate(divide="ignore"):
        level = 1 + np.log10(panel.density[::-1] / highest) / DECADES
    pixels: NDArray[np.uint8] = ((SHADES - 1) * np.clip(level, 0, 1)).astype(np.uint8)[:, columns]
    pixels[:, (panel.density.sum(axis=0) == 0)[columns]] = GREY + 4
    if panel.high > panel.low:
        with np.errstate(invalid="ignore"):
            share = (panel.medians[columns] - panel.low) / (panel.high - panel.low)
        inside = np.flatnonzero((share >= 0) & (share <= 1))
        pixels[((1 - share[inside]) * (height - 1)).astype(int), inside] = MEDIAN
    return pixels


@cache
def _palette() -> list[int]:
    """The colours of the palette as R, G, B, R, ...

    The heat maps use the cubehelix of Green 2011, "A colour scheme for the display of astronomical intensity images" (start
    0.5, one rotation, hue 1.2), whose brightness falls evenly from white to nearly black.
    """
    bright = np.linspace(1, 0.08, SHADES)
    angle = 2 * math.pi * (0.5 / 3 + 1 - bright)
    amplitude = 1.2 * bright * (1 - bright) / 2
    rgb = bright[:, None] + amplitude[:, None] * (
        np.cos(angle)[:, None] * np.array([-0.14861, -0.29227, 1.97294])
        + np.sin(angle)[:, None] * np.array([1.78277, -0.90649, 0.0])
    )
    greys = np.linspace(1, 0.12, 256 - GREY)[:, None].repeat(3, axis=1)
    colours: list[int] = (
        (255 * np.concatenate([rgb.clip(0, 1), [[0.94, 0.35, 0.16]], greys])).astype(int).ravel().tolist()
    )
    return colours


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
