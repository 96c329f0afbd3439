"""A sheet of histograms over time as PNG: one heat map per layer, with steps across, values up and density as darkness.

Drawn with Pillow in milliseconds, because training waits for it. Matplotlib takes 0.3 s to import and a second for the panels
of a ResNet, longer than the training between two evaluations.
"""

import io
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from normexp.plotting.density import Density, History
from normexp.plotting.labels import abbreviate, safe_label
from normexp.records import Picture

COLUMNS = {"activation_in": "activation input", "activation_out": "activation output", "norm_out": "norm output"}
"""Columns of the sheet: the first part of the tags in a column, and its title."""

DECADES = 3  # powers of ten between the darkest color and white

# Pixels, at twice the size at which the picture is meant to be seen, so that it is sharp on any screen.
DPI = 144
WIDTH, GAP, PITCH = 560, 120, 28  # of a panel, of the numbers left of each panel, between two rows
TOP, BOTTOM, RIGHT = 150, 190, 40  # around all panels
MIN_LEFT, MAX_LEFT = 40, 400  # for the names of the layers
INK, FAINT = 255, 150  # darkness of text and of frames, of 255
LARGE, NORMAL, SMALL = 34, 27, 23  # heights of text

SHADES, MEDIAN, GRAY = 239, 239, 240
"""Palette: SHADES colors for the heat maps, then the median's color, then 16 grays from white to black. A palette image is
compressed in a sixth of the time of an RGB one."""

NOTHING_FINITE = GRAY + 4

Histories = Mapping[str, Mapping[str, History]]
"""By layer, then by the first part of the tag."""

Key = tuple[str, str]
"""Layer and column of a panel."""


class Sheet(NamedTuple):
    """Title and subtitle, one line each, and the histograms of a sheet."""

    title: str
    subtitle: str
    histories: Histories


class Layout(NamedTuple):
    """Positions in pixels. lefts: of the panels, by column; height: of each panel."""

    lefts: dict[str, int]
    height: int
    rows: int

    @property
    def size(self) -> tuple[int, int]:
        return max(self.lefts.values()) + WIDTH + RIGHT, self.top(self.rows) + BOTTOM

    def top(self, row: int) -> int:
        return TOP + row * (self.height + PITCH)


def layout(histories: Histories) -> Layout:
    """Layout of a sheet. The more layers, the lower the panels, so that viewers can open the picture."""
    longest = max(_font(NORMAL).getlength(safe_label(layer)) for layer in histories)
    left = int(min(max(longest, MIN_LEFT), MAX_LEFT)) + 16
    columns = [column for column in COLUMNS if any(column in row for row in histories.values())]
    lefts = {column: left + GAP + j * (WIDTH + GAP) for j, column in enumerate(columns)}
    return Layout(lefts, max(40, min(192, 6000 // len(histories) - PITCH)), len(histories))


def draw_sheets(sheets: Sequence[Sheet]) -> list[Picture]:
    """Draw sheets with common axes: panels of the same layer and column have the same range and the same color scale, and all
    panels the same last step."""
    panels = [  # of each sheet, by layer and column
        {(layer, c): history for layer, row in sheet.histories.items() for c, history in row.items() if c in COLUMNS}
        for sheet in sheets
    ]
    last = max((history.steps[-1] for of_sheet in panels for history in of_sheet.values()), default=0)
    limits: dict[Key, tuple[float, float]] = {}
    for key, history in (item for of_sheet in panels for item in of_sheet.items()):
        if own := history.value_range():
            low, high = limits.get(key, own)
            limits[key] = min(low, own[0]), max(high, own[1])
    # as sharp as the histograms, at half the file size
    bins = min(layout(sheet.histories).height for sheet in sheets) // 2
    densities = [{key: h.resample(bins, limits.get(key)) for key, h in of_sheet.items()} for of_sheet in panels]
    peaks: dict[Key, float] = {}
    for key, density in (item for of_sheet in densities for item in of_sheet.items()):
        peaks[key] = max(peaks.get(key, 0.0), density.shares.max())
    scale = "density / highest density of the panel" + " in all runs" * (len(sheets) > 1)
    return [_draw(*pair, peaks, last=last, scale=scale) for pair in zip(sheets, densities, strict=True)]


def _draw(sheet: Sheet, panels: Mapping[Key, Density], peaks: Mapping[Key, float], *, last: int, scale: str) -> Picture:
    """Draw one sheet. peaks: by panel, the density of the darkest color. last: the step at the right. scale: title of the color
    bar."""
    places = layout(sheet.histories)
    colors = np.zeros(places.size[::-1], dtype=np.uint8)
    ink = Image.new("L", places.size)
    pen = ImageDraw.Draw(ink)
    for text, y, size, shade in ((sheet.title, 12, LARGE, INK), (sheet.subtitle, 58, SMALL, FAINT)):
        pen.text((16, y), _fit(text, _font(size), places.size[0] - 32), shade, _font(size))
    for i, layer in enumerate(sheet.histories):
        top, name = places.top(i), _fit(abbreviate(layer, _fits_left), _font(NORMAL), MAX_LEFT)
        pen.text((16, top + places.height / 2), name, INK, _font(NORMAL), anchor="lm")
        for column, left in places.lefts.items():
            if density := panels.get((layer, column)):
                heat = _heat(density, peaks[layer, column], last, places.height)
                colors[top : top + places.height, left : left + WIDTH] = heat
                pen.rectangle((left - 2, top - 2, left + WIDTH + 1, top + places.height + 1), outline=FAINT, width=2)
                for value, y, anchor in ((density.high, top, "ra"), (density.low, top + places.height, "rd")):
                    pen.text((left - 10, y), f"{value:.3g}", FAINT, _font(SMALL), anchor=anchor)
    for column, left in places.lefts.items():
        pen.text((left, TOP - 42), COLUMNS[column], INK, _font(NORMAL))
        for text, x, anchor in (("0", left, "la"), ("step", left + WIDTH / 2, "ma"), (str(last), left + WIDTH, "ra")):
            pen.text((x, places.top(len(sheet.histories)) - 16), text, FAINT, _font(SMALL), anchor=anchor)
    _draw_legend(colors, pen, min(places.lefts.values()), places.size[1] - BOTTOM + 40, scale)
    return _to_picture(ink, colors)


def _draw_legend(colors: NDArray[np.uint8], pen: ImageDraw.ImageDraw, left: int, top: int, scale: str) -> None:
    """Color bar of the densities, and the other colors below."""
    font = _font(SMALL)
    pen.text((left, top), scale, FAINT, font)
    bar, middle = top + 34, top + 116
    colors[bar : bar + 22, left : left + WIDTH] = np.linspace(0, SHADES - 1, WIDTH).astype(np.uint8)
    pen.rectangle((left - 2, bar - 2, left + WIDTH + 1, bar + 23), outline=FAINT, width=2)
    for decade in range(DECADES + 1):
        anchor = "la" if decade == 0 else "ra" if decade == DECADES else "ma"
        label = f"{'<' * (decade == 0)}{10.0 ** (decade - DECADES):g}"
        pen.text((left + WIDTH * decade / DECADES, bar + 30), label, FAINT, font, anchor=anchor)
    for x, color, half, text in ((left, MEDIAN, 2, "median"), (left + 200, NOTHING_FINITE, 11, "no finite values")):
        colors[middle - half : middle + half, x : x + 44] = color
        pen.text((x + 56, middle), text, FAINT, font, anchor="lm")


def _to_picture(ink: Image.Image, colors: NDArray[np.uint8]) -> Picture:
    """Put text and frames over the colors, and encode the image."""
    grays = np.asarray(ink.point([0, *(GRAY + darkness // 16 for darkness in range(1, 256))]))
    image = Image.fromarray(np.maximum(colors, grays))  # grays are the last colors of the palette
    image.putpalette(_palette())
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=3, dpi=(DPI, DPI))
    return Picture(file.getvalue(), *image.size)


def _heat(density: Density, peak: float, last: int, height: int) -> NDArray[np.uint8]:
    """Palette indices, (height, WIDTH). Each column of pixels shows the nearest snapshot."""
    steps = np.array(density.steps)
    nearest = np.searchsorted((steps[1:] + steps[:-1]) / 2, (np.arange(WIDTH) + 0.5) * max(last, 1) / WIDTH)
    with np.errstate(divide="ignore"):
        level = 1 + np.log10(density.shares[::-1] / (peak or 1.0)) / DECADES  # peak 0: no finite values
    pixels: NDArray[np.uint8] = ((SHADES - 1) * np.clip(level, 0, 1)).astype(np.uint8)
    pixels = pixels[np.arange(height) * len(pixels) // height][:, nearest]
    pixels[:, (density.shares.sum(axis=0) == 0)[nearest]] = NOTHING_FINITE
    if density.high > density.low:
        with np.errstate(invalid="ignore"):
            share = (density.medians[nearest] - density.low) / (density.high - density.low)
        inside = np.flatnonzero((share >= 0) & (share <= 1))
        rows = ((1 - share[inside]) * (height - 2)).astype(int)
        pixels[rows, inside] = pixels[rows + 1, inside] = MEDIAN
    return pixels


def _fit(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """The printable text, shortened if it is wider than `width` pixels."""
    text, end = safe_label(text), ""
    while text and font.getlength(text + end) > width:
        text, end = text[:-1], "..."
    return text + end


def _fits_left(layer: str) -> bool:
    """Whether a layer's name fits to the left of the panels."""
    return _font(NORMAL).getlength(safe_label(layer)) <= MAX_LEFT


@cache
def _palette() -> list[int]:
    """The colors of the palette as R, G, B, R, ...

    The heat maps use the cubehelix of Green 2011, "A color scheme for the display of astronomical intensity images" (start
    0.5, one rotation, hue 1.2), whose brightness falls evenly from white to nearly black.
    """
    bright = np.linspace(1, 0.08, SHADES)[:, None]
    angle = 2 * math.pi * (0.5 / 3 + 1 - bright)
    direction = np.cos(angle) * [-0.14861, -0.29227, 1.97294] + np.sin(angle) * [1.78277, -0.90649, 0.0]
    rgb = bright + 1.2 * bright * (1 - bright) / 2 * direction
    grays = np.linspace(1, 0.12, 256 - GRAY)[:, None].repeat(3, axis=1)
    colors = np.concatenate([rgb.clip(0, 1), [[0.94, 0.35, 0.16]], grays])
    return [int(255 * value) for value in colors.ravel()]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
