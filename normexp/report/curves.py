"""Curves of runs: read, thinned for drawing, and averaged over seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from normexp.metrics import MAX_PLOTTED
from normexp.report import read
from normexp.report.read import Curve, Run

MAX_POINTS = 200
"""Points of a curve that are drawn; a panel can't resolve more."""


@dataclass(frozen=True)
class MeanCurve:
    """Mean, minimum and maximum over seeds at each step. All of shape (steps,)."""

    steps: NDArray[np.int64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def read_curves(
    runs: Sequence[Run], prefixes: Mapping[Path, tuple[str, ...]]
) -> tuple[dict[Path, dict[str, Curve]], int]:
    """Finite points of curves, by run directory and tag, and the number of damaged lines. prefixes: of the tags to read."""
    curves: dict[Path, dict[str, Curve]] = {}
    bad_lines = 0
    for run in (run for run in runs if run.directory in prefixes):
        by_tag, damaged = read.curves(run, methodcaller("startswith", prefixes[run.directory]))
        bad_lines += damaged
        own = curves[run.directory] = {}
        for tag, curve in by_tag.items():
            kept = np.abs(curve.values) < MAX_PLOTTED  # False for NaN
            if kept.any():
                own[tag] = Curve(curve.steps[kept], curve.values[kept])
    return curves, bad_lines


def thin(curve: Curve, *, span: int) -> Curve:
    """At most MAX_POINTS points. No spike is lost, and runs of different lengths are thinned over the same parts of `span`."""
    kept = _extremes(curve.steps, [curve.values], span=span)
    return Curve(curve.steps[kept], curve.values[kept])


def average_curves(curves: Sequence[Curve], *, span: int) -> MeanCurve:
    """Mean, minimum and maximum over curves, linearly interpolated between their points, each up to its last step. Thinned."""
    steps = np.unique(np.concatenate([curve.steps for curve in curves]))
    table = np.array([np.interp(steps, c.steps, c.values, left=np.nan, right=np.nan) for c in curves])
    mean, low, high = np.nanmean(table, axis=0), np.nanmin(table, axis=0), np.nanmax(table, axis=0)
    kept = _extremes(steps, [mean] if len(curves) == 1 else [mean, low, high], span=span)
    return MeanCurve(steps[kept], mean[kept], low[kept], high[kept])


def _extremes(steps: NDArray[np.int64], rows: Sequence[NDArray[np.float64]], *, span: int) -> NDArray[np.int64]:
    """Indices of both ends, and of each row's minimum and maximum in each of MAX_POINTS / 2 - 1 equal parts of `span`. All
    indices if there are no more than MAX_POINTS."""
    if len(steps) <= MAX_POINTS:
        return np.arange(len(steps))
    part = np.searchsorted(np.linspace(0, span, MAX_POINTS // 2)[1:-1], steps, side="right")
    starts = np.flatnonzero(np.diff(part, prepend=-1))
    lengths = np.diff(starts, append=len(steps))
    kept = [np.array([0, len(steps) - 1])]
    for values in rows:
        for extreme in (np.minimum, np.maximum):
            hits = np.flatnonzero(values == np.repeat(extreme.reduceat(values, starts), lengths))
            kept.append(hits[np.unique(part[hits], return_index=True)[1]])  # the first of equal values
    return np.unique(np.concatenate(kept))


def layer_names(tags: Iterable[Iterable[str]], prefix: str, suffix: str = "") -> list[str]:
    """Layers with tags PREFIX layer SUFFIX, in the order of the run with most of them. tags: of each run."""
    layers = []
    for own in tags:
        names = [t[len(prefix) : len(t) - len(suffix)] for t in own if t.startswith(prefix) and t.endswith(suffix)]
        layers.append([name for name in names if name != "total"])
    return list(dict.fromkeys(name for own in sorted(layers, key=len, reverse=True) for name in own))
