"""The histograms of all layers over time, as one picture: steps across, values up, density as darkness."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from normexp.record import Histogram, Picture, Record
from normexp.rundir import write_bytes
from normexp.sinks.drawing import Panel, draw

Floats = NDArray[np.floating]

COLUMNS = {
    "activation_in": "enters the activation",
    "activation_out": "leaves the activation",
    "norm_out": "leaves the norm",
}
"""The groups of tags that the sheet shows, in this order."""

MOST = 256
"""Looks that are kept of a tag: more than a panel has pixels to show."""


@dataclass
class History:
    """The looks at one tag. When there are too many, every second one goes, and of later ones too: memory stays bounded."""

    steps: list[int] = field(default_factory=list)
    lows: list[float] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)
    counts: list[NDArray[np.float32]] = field(default_factory=list)
    _every: int = 1
    _seen: int = 0

    def add(self, step: int, histogram: Histogram) -> None:
        """The newest look is always there; it makes way for the next where it is not one of the kept ones."""
        if self.steps and (self._seen - 1) % self._every:
            for series in self._series():
                series.pop()
        self._seen += 1
        self.steps.append(step)
        self.lows.append(histogram.edges[0])
        self.widths.append(histogram.edges[1] - histogram.edges[0])
        self.counts.append(np.array(histogram.counts, dtype=np.float32))
        if len(self.steps) > MOST:
            for series in self._series():
                del series[1::2]
            self._every *= 2

    def _series(self) -> tuple[list[int], list[float], list[float], list[NDArray[np.float32]]]:
        return self.steps, self.lows, self.widths, self.counts


class Sheet:
    """Keeps the histograms of what enters and leaves each layer's parts, and draws them at each evaluation and at the end.

    path: where the PNG goes, replaced as a whole. show: is handed each picture too, with its step.
    """

    def __init__(self, path: Path, show: Callable[[Picture, int], None]) -> None:
        self._path, self._show = path, show
        self._histories: dict[str, dict[str, History]] = {}
        self._drawn = self._looked = -1

    def log(self, record: Record) -> None:
        for tag, histogram in record.histograms.items():
            group, _, layer = tag.partition("/")
            if group in COLUMNS:
                self._histories.setdefault(layer, {}).setdefault(group, History()).add(record.step, histogram)
                self._looked = record.step
        if "val/accuracy" in record.scalars:
            self._draw()

    def close(self, *, success: bool) -> None:
        self._draw()

    def _draw(self) -> None:
        """Nothing, unless there is a look that the last picture does not show."""
        if self._looked > self._drawn:
            self._drawn = self._looked
            picture = draw_sheet(self._histories)
            write_bytes(self._path, picture.png)
            self._show(picture, self._looked)


def draw_sheet(histories: Mapping[str, Mapping[str, History]]) -> Picture:
    """A row for each layer, a column for each group of tags that some layer has."""
    groups = [group for group in COLUMNS if any(group in row for row in histories.values())]
    rows = {layer: [_panel(row[g]) if g in row else None for g in groups] for layer, row in histories.items()}
    return draw([COLUMNS[group] for group in groups], rows)


def _panel(history: History) -> Panel:
    """The density of each look at each of as many values as the finest bins tell apart, from the lowest to the highest seen."""
    lows, widths, counts = (np.array(series) for series in (history.lows, history.widths, history.counts))
    places = np.arange(counts.shape[1])
    used = counts > 0
    if not used.any():
        return Panel(history.steps, 0.0, 0.0, np.zeros((1, len(lows))), np.full(len(lows), np.nan))
    left = lows[:, None] + places * widths[:, None]
    low, high = left[used].min(), (left + widths[:, None])[used].max()
    values = low + (np.arange(Panel.ROWS) + 0.5) * (high - low) / Panel.ROWS
    bins = np.floor((values[:, None] - lows) / np.where(widths > 0, widths, 1.0)).astype(int)
    inside = (bins >= 0) & (bins < counts.shape[1]) & (widths > 0)
    found = np.take_along_axis(counts.T, bins.clip(0, counts.shape[1] - 1), axis=0)
    total = counts.sum(axis=1)
    density = np.where(inside, found / total.clip(min=1) / np.where(widths > 0, widths, 1.0), 0.0)
    return Panel(history.steps, float(low), float(high), density, _medians(left[:, 0], widths, counts))


def _medians(lows: Floats, widths: Floats, counts: Floats) -> Floats:
    """Of each look, as its bins tell; NaN where they are empty."""
    below = counts.cumsum(axis=1)
    half = below[:, -1:] / 2
    bins = (below < half).sum(axis=1)
    inside = np.take_along_axis(counts, bins[:, None], axis=1)[:, 0]
    before = np.take_along_axis(below, bins[:, None], axis=1)[:, 0] - inside
    with np.errstate(divide="ignore", invalid="ignore"):
        medians: Floats = lows + widths * (bins + (half[:, 0] - before) / inside)
    return medians
