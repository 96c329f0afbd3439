"""histograms.png: one heat map per layer, with steps across, values up and density as darkness.

Drawn with Pillow in milliseconds, because training waits for it. Matplotlib takes 0.3 s to import and a second for the panels
of a ResNet, longer than the training between two evaluations.
"""

import io
import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from normexp.records import Histogram, Picture, Record
from normexp.rundir.atomic import write_bytes

COLUMNS = {
    "activation_in": "enters the activation",
    "activation_out": "leaves the activation",
    "norm_out": "leaves the norm",
}
"""Columns of the sheet: the first part of the tags in a column, and its title."""

OUTLIER_FACTOR = 100
"""A snapshot whose values reach further than this multiple of the median reach does not widen the range of a panel."""

MAX_SNAPSHOTS = 256  # per tag; bounds the memory. A panel is only 280 pixels wide
DECADES = 3.0  # powers of ten between the darkest colour and white
WIDTH, MARGIN, GAP = 280, 80, 60  # pixels of a panel, of the layer names at the left, of the numbers left of each panel
TOP, BOTTOM, PITCH = 30, 46, 14  # pixels above and below all panels, and between two rows
INK, FAINT = 255, 150  # darkness of text and of frames, of 255

SHADES, MEDIAN, GREY = 239, 239, 240
"""Palette: SHADES colours for the heat maps, then the median's colour, then 16 greys from white to black. A palette image is
compressed in a sixth of the time of an RGB one."""

CAPTION = "dark: dense; white: less than 1/1000 of the densest; grey: nothing finite; line: median"


class Snapshot(NamedTuple):
    """A histogram with equal bins: the lower edge of the first one, their width, and the counts."""

    step: int
    low: float
    width: float
    counts: NDArray[np.float32]


class History:
    """The snapshots of one tag. When there are too many, every second one is dropped, then and from then on."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self._every, self._seen = 1, 0

    @property
    def steps(self) -> list[int]:
        return [snapshot.step for snapshot in self.snapshots]

    def add(self, step: int, histogram: Histogram) -> None:
        """Add the newest snapshot, which is always kept until the next one comes."""
        if self.snapshots and (self._seen - 1) % self._every:
            self.snapshots.pop()
        self._seen += 1
        low, high = histogram.edges[:2]
        self.snapshots.append(Snapshot(step, low, high - low, np.array(histogram.counts, dtype=np.float32)))
        if len(self.snapshots) > MAX_SNAPSHOTS:
            del self.snapshots[1::2]
            self._every *= 2

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values for a checkpoint."""
        steps, lows, widths, counts = (list(column) for column in zip(*self.snapshots, strict=True))
        series = {"steps": steps, "lows": lows, "widths": widths, "counts": torch.from_numpy(np.stack(counts))}
        return {**series, "every": self._every, "seen": self._seen}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        history = cls()
        columns = state["steps"], state["lows"], state["widths"], state["counts"].numpy()
        history.snapshots = [Snapshot(*row) for row in zip(*columns, strict=True)]
        history._every, history._seen = state["every"], state["seen"]
        return history


class HistogramSheet:
    """Collects histograms, and draws them at each evaluation and at the end.

    path: of the PNG, which is replaced atomically. show: also receives each picture and its step.
    """

    def __init__(
        self, path: Path, show: Callable[[Picture, int], None], saved: Mapping[str, Any] | None = None
    ) -> None:
        saved = saved or {"drawn": -1, "looked": -1, "histories": {}}
        self._path, self._show = path, show
        self._drawn_step, self._last_step = saved["drawn"], saved["looked"]
        self._histories = {
            layer: {group: History.from_state(state) for group, state in row.items()}
            for layer, row in saved["histories"].items()
        }

    def log(self, record: Record) -> None:
        for tag, histogram in record.histograms.items():
            group, _, layer = tag.partition("/")
            if group in COLUMNS:
                self._histories.setdefault(layer, {}).setdefault(group, History()).add(record.step, histogram)
                self._last_step = record.step
        if "val/accuracy" in record.scalars:
            self.draw()

    def close(self, *, success: bool) -> None:
        self.draw()

    def state_dict(self) -> dict[str, Any]:
        histories = {
            layer: {group: history.state_dict() for group, history in row.items()}
            for layer, row in self._histories.items()
        }
        return {"drawn": self._drawn_step, "looked": self._last_step, "histories": histories}

    def draw(self) -> None:
        """Draw a new picture, unless nothing was added since the last one."""
        if self._last_step > self._drawn_step:
            self._drawn_step = self._last_step
            picture = draw_sheet(self._histories)
            write_bytes(self._path, picture.png)
            self._show(picture, self._last_step)


def row_height(rows: int) -> int:
    """Height of a panel in pixels. Shrinks with the number of rows, so that viewers can open the picture."""
    return max(24, min(96, 6000 // rows - PITCH))


def draw_sheet(histories: Mapping[str, Mapping[str, History]]) -> Picture:
    """Draw a row for each layer and a column for each group of tags. histories: by layer, then by group."""
    groups = [group for group in COLUMNS if any(group in row for row in histories.values())]
    height = row_height(len(histories))
    lefts = {group: MARGIN + GAP + j * (WIDTH + GAP) for j, group in enumerate(groups)}
    below = TOP + len(histories) * (height + PITCH)
    size = lefts[groups[-1]] + WIDTH + 20, below + BOTTOM
    colours = np.zeros(size[::-1], dtype=np.uint8)
    ink = Image.new("L", size)
    pen = ImageDraw.Draw(ink)
    last = max(history.steps[-1] for row in histories.values() for history in row.values())
    for i, (layer, row) in enumerate(histories.items()):
        top = TOP + i * (height + PITCH)
        pen.text((8, top + height / 2), layer, INK, _font(13), anchor="lm")
        for group, history in row.items():
            panel, left = to_panel(history, height), lefts[group]
            colours[top : top + height, left : left + WIDTH] = _heat(panel, last)
            pen.rectangle((left - 1, top - 1, left + WIDTH, top + height), outline=FAINT)
            for value, y, anchor in ((panel.high, top, "ra"), (panel.low, top + height, "rd")):
                pen.text((left - 5, y), f"{value:.3g}", FAINT, _font(11), anchor=anchor)
    for group, left in lefts.items():
        pen.text((left, 8), COLUMNS[group], INK, _font(14))
        for text, x, anchor in (("0", left, "la"), ("step", left + WIDTH / 2, "ma"), (str(last), left + WIDTH, "ra")):
            pen.text((x, below - 8), text, FAINT, _font(11), anchor=anchor)
    pen.text((MARGIN + GAP, below + 16), CAPTION, FAINT, _font(12))
    inked = np.asarray(ink)
    image = Image.fromarray(np.where(inked > 0, GREY + inked // 16, colours))
    image.putpalette(_palette())
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=3)
    return Picture(file.getvalue(), *size)


class Panel(NamedTuple):
    """The heat map of one tag. density: (bins, S) for the snapshots at the S `steps`, lowest bin first; medians: (S,)."""

    steps: list[int]
    low: float
    high: float
    density: NDArray[np.floating]
    medians: NDArray[np.floating]


def to_panel(history: History, height: int) -> Panel:
    """Resample all snapshots to `height` common bins.

    The bins divide the range of all values, without outlier snapshots (OUTLIER_FACTOR), as when a run diverges: their values
    beyond the range go into the outermost bins, and their median is NaN if it is beyond.
    """
    lows, widths = (np.array([[getattr(s, name)] for s in history.snapshots]) for name in ("low", "width"))
    counts = np.stack([snapshot.counts for snapshot in history.snapshots])
    edges = lows + np.arange(counts.shape[1] + 1) * widths
    occupied = counts > 0
    finite = occupied.any(axis=1)
    shares = np.zeros((height, len(counts)))
    medians = np.full(len(counts), np.nan)
    if not finite.any():
        return Panel(history.steps, 0.0, 0.0, shares, medians)
    bottom = np.where(occupied, edges[:, :-1], np.inf).min(axis=1)
    top = np.where(occupied, edges[:, 1:], -np.inf).max(axis=1)
    reach = np.maximum(np.abs(bottom), np.abs(top))
    usual = finite & (reach <= OUTLIER_FACTOR * np.median(reach[finite]))
    low, high = bottom[usual].min(), top[usual].max()
    cumulative = np.concatenate([np.zeros((len(counts), 1)), counts.cumsum(axis=1)], axis=1)
    bins = np.linspace(low, high, height + 1)
    for i in np.flatnonzero(finite):
        distribution = cumulative[i] / cumulative[i, -1]
        at_bins = np.interp(bins, edges[i], distribution)
        at_bins[0], at_bins[-1] = 0, 1
        shares[:, i] = np.diff(at_bins)
        medians[i] = np.interp(0.5, distribution, edges[i])
    return Panel(history.steps, float(low), float(high), shares, medians)


def _heat(panel: Panel, last: int) -> NDArray[np.uint8]:
    """Palette indices, (height, WIDTH). Each column of pixels shows the nearest snapshot."""
    steps = np.array(panel.steps)
    nearest = np.searchsorted((steps[1:] + steps[:-1]) / 2, (np.arange(WIDTH) + 0.5) * max(last, 1) / WIDTH)
    highest = panel.density.max() or 1.0  # 0 if there were no finite values
    with np.errstate(divide="ignore"):
        level = 1 + np.log10(panel.density[::-1] / highest) / DECADES
    pixels: NDArray[np.uint8] = ((SHADES - 1) * np.clip(level, 0, 1)).astype(np.uint8)[:, nearest]
    pixels[:, (panel.density.sum(axis=0) == 0)[nearest]] = GREY + 4
    if panel.high > panel.low:
        with np.errstate(invalid="ignore"):
            share = (panel.medians[nearest] - panel.low) / (panel.high - panel.low)
        inside = np.flatnonzero((share >= 0) & (share <= 1))
        pixels[((1 - share[inside]) * (len(pixels) - 1)).astype(int), inside] = MEDIAN
    return pixels


@cache
def _palette() -> list[int]:
    """The colours of the palette as R, G, B, R, ...

    The heat maps use the cubehelix of Green 2011, "A colour scheme for the display of astronomical intensity images" (start
    0.5, one rotation, hue 1.2), whose brightness falls evenly from white to nearly black.
    """
    bright = np.linspace(1, 0.08, SHADES)[:, None]
    angle = 2 * math.pi * (0.5 / 3 + 1 - bright)
    direction = np.cos(angle) * [-0.14861, -0.29227, 1.97294] + np.sin(angle) * [1.78277, -0.90649, 0.0]
    rgb = bright + 1.2 * bright * (1 - bright) / 2 * direction
    greys = np.linspace(1, 0.12, 256 - GREY)[:, None].repeat(3, axis=1)
    colours = np.concatenate([rgb.clip(0, 1), [[0.94, 0.35, 0.16]], greys])
    return [int(255 * value) for value in colours.ravel()]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
