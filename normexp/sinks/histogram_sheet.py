"""The histograms of all layers over time, as one picture: steps across, values up, density as darkness."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from normexp.records import Histogram, Picture, Record
from normexp.rundir.atomic import write_bytes
from normexp.sinks.heatmap_png import Panel, draw, row_height

COLUMNS = {
    "activation_in": "enters the activation",
    "activation_out": "leaves the activation",
    "norm_out": "leaves the norm",
}
"""The groups of tags that the sheet shows, in this order."""

FAR = 100
"""How many times as far as the usual look one may reach, to count for the range that a panel shows."""

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

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values. Copies, since the looks go on."""
        counts = torch.from_numpy(np.stack(self.counts))
        series = {"steps": list(self.steps), "lows": list(self.lows), "widths": list(self.widths)}
        return {**series, "counts": counts, "every": self._every, "seen": self._seen}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> History:
        series = list(state["steps"]), list(state["lows"]), list(state["widths"]), list(state["counts"].numpy())
        return cls(*series, _every=state["every"], _seen=state["seen"])

    def _series(self) -> tuple[list[int], list[float], list[float], list[NDArray[np.float32]]]:
        return self.steps, self.lows, self.widths, self.counts


class Sheet:
    """Keeps the histograms of what enters and leaves each layer's parts, and draws them at each evaluation and at the end.

    path: where the PNG goes, replaced as a whole. show: is handed each picture too, with its step.
    """

    def __init__(
        self, path: Path, show: Callable[[Picture, int], None], saved: Mapping[str, Any] | None = None
    ) -> None:
        self._path, self._show = path, show
        self._histories: dict[str, dict[str, History]] = {}
        self._drawn = self._looked = -1
        if saved:
            self._drawn, self._looked = saved["drawn"], saved["looked"]
            self._histories = {
                layer: {group: History.from_state(state) for group, state in row.items()}
                for layer, row in saved["histories"].items()
            }

    def log(self, record: Record) -> None:
        for tag, histogram in record.histograms.items():
            group, _, layer = tag.partition("/")
            if group in COLUMNS:
                self._histories.setdefault(layer, {}).setdefault(group, History()).add(record.step, histogram)
                self._looked = record.step
        if "val/accuracy" in record.scalars:
            self.draw()

    def close(self, *, success: bool) -> None:
        self.draw()

    def state_dict(self) -> dict[str, Any]:
        histories = {
            layer: {group: history.state_dict() for group, history in row.items()}
            for layer, row in self._histories.items()
        }
        return {"drawn": self._drawn, "looked": self._looked, "histories": histories}

    def draw(self) -> None:
        """A new picture, if there is a look that the last one does not show."""
        if self._looked > self._drawn:
            self._drawn = self._looked
            picture = draw_sheet(self._histories)
            write_bytes(self._path, picture.png)
            self._show(picture, self._looked)


def draw_sheet(histories: Mapping[str, Mapping[str, History]]) -> Picture:
    """A row for each layer, a column for each group of tags that some layer has."""
    groups = [group for group in COLUMNS if any(group in row for row in histories.values())]
    height = row_height(len(histories))
    rows = {
        layer: [panel(row[group], height) if group in row else None for group in groups]
        for layer, row in histories.items()
    }
    return draw([COLUMNS[group] for group in groups], rows)


def panel(history: History, height: int) -> Panel:
    """The share of each look's values that each of `height` rows holds.

    The rows divide the range of all values seen, but for looks that reach more than 100 times as far as the usual one, as when a
    run diverges: what they have beyond it is put into the outermost rows, and their median is left out where it is beyond.
    """
    lows, widths, counts = (np.array(series) for series in (history.lows, history.widths, history.counts))
    edges = lows[:, None] + np.arange(counts.shape[1] + 1) * widths[:, None]
    used = counts > 0
    there = used.any(axis=1)
    if not there.any():
        return Panel(history.steps, 0.0, 0.0, np.zeros((height, len(lows))), np.full(len(lows), np.nan))
    bottom = np.where(used, edges[:, :-1], np.inf).min(axis=1)
    top = np.where(used, edges[:, 1:], -np.inf).max(axis=1)
    reach = np.maximum(np.abs(bottom), np.abs(top))
    usual = there & (reach <= FAR * np.median(reach[there]))
    low, high = bottom[usual].min(), top[usual].max()
    below = np.concatenate([np.zeros((len(counts), 1)), counts.cumsum(axis=1)], axis=1)
    rows = np.linspace(low, high, height + 1)
    shares = np.zeros((height, len(lows)))
    medians = np.full(len(lows), np.nan)
    for i in np.flatnonzero(there):
        at = np.interp(rows, edges[i], below[i] / below[i, -1])
        at[0], at[-1] = 0, 1
        shares[:, i] = np.diff(at)
        medians[i] = np.interp(0.5, below[i] / below[i, -1], edges[i])
    return Panel(history.steps, float(low), float(high), shares, medians)
