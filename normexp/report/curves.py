"""Curves of runs: read, thinned for drawing, averaged over seeds. No drawing here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from normexp.report import read
from normexp.report.read import Curve, Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

POINTS = 200
"""Points of a curve that are drawn: more than a panel has room for."""

BEYOND = 1e100
"""No float32 is as large: what is, in a damaged file, is left out like what is not finite, and can't overflow in sums."""

Starts = tuple[str, ...]
"""The tags of a run that are wanted: those that begin so."""


@dataclass(frozen=True)
class Average:
    """A curve over seeds: mean, smallest and largest value at each step. All of shape (steps,)."""

    steps: NDArray[np.int64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def read_curves(runs: Sequence[Run], wanted: Mapping[Path, Starts]) -> tuple[dict[Path, dict[str, Curve]], int]:
    """The finite points of each run's curves, and how many lines of all files could not be read.

    wanted: by run directory; other runs are not opened. (A second process was no faster: what it reads must be handed over.)
    """
    import numpy as np

    found: dict[Path, dict[str, Curve]] = {}
    bad_lines = 0
    for run in runs:
        if run.directory not in wanted:
            continue
        made = read.curves(run, partial(_begins, starts=wanted[run.directory]))
        bad_lines += made.bad_lines
        kept = {tag: np.abs(curve.values) < BEYOND for tag, curve in made.by_tag.items()}  # false for NaN
        found[run.directory] = {
            tag: Curve(curve.steps[kept[tag]], curve.values[kept[tag]])
            for tag, curve in made.by_tag.items()
            if kept[tag].any()
        }
    return found, bad_lines


def _begins(tag: str, *, starts: Starts) -> bool:
    return tag.startswith(starts)


def thin(curve: Curve, *, span: int, most: int = POINTS) -> Curve:
    """At most `most` points of the curve: its ends, and the minimum and maximum of each of most/2 - 1 equal parts of `span`.

    No spike is lost, however short, and runs of different lengths are thinned over the same parts.
    """
    kept = _extremes(curve.steps, [curve.values], span=span, most=most)
    return Curve(curve.steps[kept], curve.values[kept])


def average(curves: Sequence[Curve], *, span: int) -> Average:
    """Mean, smallest and largest over curves, each as far as it reaches, with linear interpolation between its points. Thinned
    like a curve, with the extremes of all three."""
    import numpy as np

    steps = np.unique(np.concatenate([curve.steps for curve in curves]))
    table = np.array([np.interp(steps, c.steps, c.values, left=np.nan, right=np.nan) for c in curves])
    mean, low, high = np.nanmean(table, axis=0), np.nanmin(table, axis=0), np.nanmax(table, axis=0)
    kept = _extremes(steps, [mean] if len(curves) == 1 else [mean, low, high], span=span, most=POINTS)
    return Average(steps[kept], mean[kept], low[kept], high[kept])


def _extremes(
    steps: NDArray[np.int64], rows: Sequence[NDArray[np.float64]], *, span: int, most: int
) -> NDArray[np.int64]:
    """Indices of the first and the last step, and of each row's minimum and maximum within each of most/2 - 1 equal parts of
    `span`; of all steps if there are no more than `most`."""
    import numpy as np

    if len(steps) <= most:
        return np.arange(len(steps))
    part = np.searchsorted(np.linspace(0, span, most // 2)[1:-1], steps, side="right")
    starts = np.flatnonzero(np.diff(part, prepend=-1))
    lengths = np.diff(starts, append=len(steps))
    kept = [np.array([0, len(steps) - 1])]
    for values in rows:
        for extreme in (np.minimum, np.maximum):
            hits = np.flatnonzero(values == np.repeat(extreme.reduceat(values, starts), lengths))
            kept.append(hits[np.unique(part[hits], return_index=True)[1]])  # the first of equal ones
    return np.unique(np.concatenate(kept))


def layers(tags: Iterable[Iterable[str]], start: str, end: str = "") -> list[str]:
    """The layers that have tags `start` LAYER `end`, in the order of the run that has most of them, then those of others."""
    found = [
        [t[len(start) : len(t) - len(end)] for t in own if t.startswith(start) and t.endswith(end)] for own in tags
    ]
    named = [[name for name in own if name != "total"] for own in found]
    return list(dict.fromkeys(name for own in sorted(named, key=len, reverse=True) for name in own))
