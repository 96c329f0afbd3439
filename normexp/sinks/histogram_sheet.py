"""histograms.png: one heat map per layer, with steps across, values up and density as darkness."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

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
"""Columns of the sheet: the first part of the tags in a column, and its title."""

OUTLIER_FACTOR = 100
"""A snapshot whose values reach further than this multiple of the median reach does not widen the range of a panel."""

MAX_SNAPSHOTS = 256
"""Snapshots to keep per tag. Bounds the memory; a panel is only 280 pixels wide."""


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
        self._every = 1
        self._seen = 0

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
    def from_state(cls, state: Mapping[str, Any]) -> History:
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
        self._path, self._show = path, show
        self._histories: dict[str, dict[str, History]] = {}
        self._drawn_step = self._last_step = -1
        if saved:
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


def draw_sheet(histories: Mapping[str, Mapping[str, History]]) -> Picture:
    """Draw a row for each layer and a column for each group of tags. histories: by layer, then by group."""
    groups = [group for group in COLUMNS if any(group in row for row in histories.values())]
    height = row_height(len(histories))
    rows = {
        layer: [to_panel(row[group], height) if group in row else None for group in groups]
        for layer, row in histories.items()
    }
    return draw([COLUMNS[group] for group in groups], rows)


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
