"""Curves of runs: read, thinned for drawing, and averaged over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING

from normexp.report import read
from normexp.report.read import Curve, Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_POINTS = 200
"""Points of a curve that are drawn; a panel can't resolve more."""

MAX_PLOTTED = 1e100
"""No float32 is this large. Such values, from damaged files, are dropped like non-finite ones, so sums can't overflow."""


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
    """Read curves, finite points only. Returns them by run directory and tag, and the number of lines that can't be read.

    prefixes: of the tags to read, by run directory; other runs are not opened. (A second process was no faster: its results
    have to be pickled.)
    """
    import numpy as np

    curves: dict[Path, dict[str, Curve]] = {}
    bad_lines = 0
    for run in runs:
        own = prefixes.get(run.directory)
        if own is None:
            continue
        loaded = read.curves(run, methodcaller("startswith", own))
        bad_lines += loaded.bad_lines
        kept = {tag: np.abs(curve.values) < MAX_PLOTTED for tag, curve in loaded.by_tag.items()}  # False for NaN
        curves[run.directory] = {
            tag: Curve(curve.steps[kept[tag]], curve.values[kept[tag]])
            for tag, curve in loaded.by_tag.items()
            if kept[tag].any()
        }
    return curves, bad_lines


def thin(curve: Curve, *, span: int, limit: int = MAX_POINTS) -> Curve:
    """At most `limit` points: the ends, and the minimum and maximum in each of limit/2 - 1 equal parts of `span`.

    No spike is lost, and runs of different lengths are thinned over the same parts.
    """
    kept = _extremes(curve.steps, [curve.values], span=span, limit=limit)
    return Curve(curve.steps[kept], curve.values[kept])


def average_curves(curves: Sequence[Curve], *, span: int) -> MeanCurve:
    """Mean, minimum and maximum over curves, linearly interpolated between their points, each up to its last step.

    Thinned like a single curve, keeping the extremes of all three.
    """
    import numpy as np

    steps = np.unique(np.concatenate([curve.steps for curve in curves]))
    table = np.array([np.interp(steps, c.steps, c.values, left=np.nan, right=np.nan) for c in curves])
    mean, low, high = np.nanmean(table, axis=0), np.nanmin(table, axis=0), np.nanmax(table, axis=0)
    kept = _extremes(steps, [mean] if len(curves) == 1 else [mean, low, high], span=span, limit=MAX_POINTS)
    return MeanCurve(steps[kept], mean[kept], low[kept], high[kept])


def _extremes(
    steps: NDArray[np.int64], rows: Sequence[NDArray[np.float64]], *, span: int, limit: int
) -> NDArray[np.int64]:
    """Indices of both ends, and of each row's minimum and maximum in each of limit/2 - 1 equal parts of `span`.

    All indices if there are no more than `limit`.
    """
    import numpy as np

    if len(steps) <= limit:
        return np.arange(len(steps))
    part = np.searchsorted(np.linspace(0, span, limit // 2)[1:-1], steps, side="right")
    starts = np.flatnonzero(np.diff(part, prepend=-1))
    lengths = np.diff(starts, append=len(steps))
    kept = [np.array([0, len(steps) - 1])]
    for values in rows:
        for extreme in (np.minimum, np.maximum):
            hits = np.flatnonzero(values == np.repeat(extreme.reduceat(values, starts), lengths))
            kept.append(hits[np.unique(part[hits], return_index=True)[1]])  # the first of equal values
    return np.unique(np.concatenate(kept))


def layer_names(tags: Iterable[Iterable[str]], prefix: str, suffix: str = "") -> list[str]:
    """Layers with tags PREFIX layer SUFFIX, in the order of the run with most layers, followed by those of other runs.

    tags: of each run.
    """
    names = [
        [t[len(prefix) : len(t) - len(suffix)] for t in own if t.startswith(prefix) and t.endswith(suffix)]
        for own in tags
    ]
    layers = [[name for name in own if name != "total"] for own in names]
    return list(dict.fromkeys(name for own in sorted(layers, key=len, reverse=True) for name in own))
