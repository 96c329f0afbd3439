"""Histograms over time, resampled to common bins: the data of a heat map with steps across and values up."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from normexp.records import Histogram

OUTLIER_FACTOR = 100
"""A snapshot whose values reach further than this multiple of the median reach does not widen the range."""

MAX_SNAPSHOTS = 256  # per tag; bounds the memory, and a heat map is only 560 pixels wide


class Snapshot(NamedTuple):
    """A histogram with equal bins: the lower edge of the first one, their width, and the counts."""

    step: int
    low: float
    width: float
    counts: NDArray[np.float32]


class History:
    """The snapshots of one tag. When there are too many, every second one is dropped, then and from then on.

    every, seen: one snapshot in `every` is kept, of `seen` so far.
    """

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self.every, self.seen = 1, 0

    @property
    def steps(self) -> list[int]:
        return [snapshot.step for snapshot in self.snapshots]

    def add(self, step: int, histogram: Histogram) -> None:
        """Add the newest snapshot, which is always kept until the next one comes."""
        low, high = histogram.edges[:2]
        self.append(Snapshot(step, low, high - low, np.array(histogram.counts, dtype=np.float32)))

    def append(self, snapshot: Snapshot) -> None:
        if self.snapshots and (self.seen - 1) % self.every:
            self.snapshots.pop()
        self.seen += 1
        self.snapshots.append(snapshot)
        if len(self.snapshots) > MAX_SNAPSHOTS:
            del self.snapshots[1::2]
            self.every *= 2

    def value_range(self) -> tuple[float, float] | None:
        """Lowest and highest value, without outlier snapshots (OUTLIER_FACTOR), as when a run diverges. None if no value is
        finite."""
        edges, counts = self._bins()
        occupied = counts > 0
        finite = occupied.any(axis=1)
        if not finite.any():
            return None
        bottom = np.where(occupied, edges[:, :-1], np.inf).min(axis=1)
        top = np.where(occupied, edges[:, 1:], -np.inf).max(axis=1)
        reach = np.maximum(np.abs(bottom), np.abs(top))
        usual = finite & (reach <= OUTLIER_FACTOR * np.median(reach[finite]))
        return float(bottom[usual].min()), float(top[usual].max())

    def resample(self, bins: int, limits: tuple[float, float] | None) -> "Density":
        """Resample to `bins` equal bins between the limits. Values beyond the limits go into the outermost bins."""
        shares, medians = np.zeros((bins, len(self.snapshots))), np.full(len(self.snapshots), np.nan)
        if limits is None:
            return Density(self.steps, 0.0, 0.0, shares, medians)
        edges, counts = self._bins()
        cumulative = np.concatenate([np.zeros((len(counts), 1)), counts.cumsum(axis=1)], axis=1)
        common = np.linspace(*limits, bins + 1)
        for i in np.flatnonzero(cumulative[:, -1]):
            distribution = cumulative[i] / cumulative[i, -1]
            at_common = np.interp(common, edges[i], distribution)
            at_common[0], at_common[-1] = 0, 1
            shares[:, i] = np.diff(at_common)
            medians[i] = np.interp(0.5, distribution, edges[i])
        return Density(self.steps, *limits, shares, medians)

    def _bins(self) -> tuple[NDArray[np.floating], NDArray[np.float32]]:
        """Edges (S, bins + 1) and counts (S, bins) of the S snapshots."""
        lows, widths = (np.array([[getattr(s, name)] for s in self.snapshots]) for name in ("low", "width"))
        counts = np.stack([snapshot.counts for snapshot in self.snapshots])
        return lows + np.arange(counts.shape[1] + 1) * widths, counts


class Density(NamedTuple):
    """shares: (bins, S), the share of the values in each bin at the S `steps`, lowest bin first; 0 if no value is finite.
    medians: (S,), possibly outside of [low, high]; NaN if no value is finite."""

    steps: list[int]
    low: float
    high: float
    shares: NDArray[np.floating]
    medians: NDArray[np.floating]
