"""What a look says of a set of values: moments, percentiles, and a histogram whose bins stay put over time.

In NumPy, on the bounded samples that a look has fetched: its small operations cost a fifth of torch's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from normexp.records import Histogram

Floats = NDArray[np.floating]

BINS = 64
PERCENTILES = (1, 15, 25, 50, 75, 85, 99)
"""In percent. 15, 50 and 85 are those of Ioffe and Szegedy 2015, figure 1."""

FEWEST_BINS = BINS // 4
"""Bins that the values span at least; where they shrink below, the bins become finer."""

MAX_BATCH = 1 << 16
"""Values described together: few large operations are faster than many small ones, as long as their arrays fit in a cache."""


@dataclass(frozen=True)
class Distribution:
    """Of the finite values; `nonfinite` says how many others there were.

    std: the population's, sqrt(m2). skew: m3/m2^1.5. kurtosis: m4/m2^2 - 3, 0 for a Gaussian. percentiles: interpolated
    linearly. None where undefined: without a finite value, or, for skew and kurtosis, where all are the same.
    """

    mean: float | None
    std: float | None
    skew: float | None
    kurtosis: float | None
    percentiles: Mapping[int, float | None]
    nonfinite: int
    histogram: Histogram


class Distributions:
    """Describes samples at one look after another; remembers the bins of each tag."""

    def __init__(self) -> None:
        self._bins: dict[str, tuple[int, int]] = {}

    def __call__(self, samples: Mapping[str, Floats]) -> dict[str, Distribution]:
        """By tag, of arrays of any shape. Samples of the same size are worked on together."""
        groups: dict[int, list[str]] = {}
        for tag, sample in samples.items():
            groups.setdefault(sample.size, []).append(tag)
        found: dict[str, Distribution] = {}
        for size, tags in groups.items():
            rows = max(1, MAX_BATCH // max(1, size))
            for start in range(0, len(tags), rows):
                chunk = tags[start : start + rows]
                found |= self._some(chunk, np.stack([samples[tag].ravel() for tag in chunk]))
        return {tag: found[tag] for tag in samples}

    def state_dict(self) -> dict[str, tuple[int, int]]:
        return dict(self._bins)

    def load_state_dict(self, state: Mapping[str, tuple[int, int]]) -> None:
        self._bins = dict(state)

    def _some(self, tags: Sequence[str], values: Floats) -> dict[str, Distribution]:
        values.sort(axis=1)
        # -inf stands first; inf last, and NaN behind it.
        if values.size and np.isfinite(values[:, 0]).all() and np.isfinite(values[:, -1]).all():
            return self._finite(tags, values, nonfinite=0)
        found: dict[str, Distribution] = {}
        for tag, row in zip(tags, values, strict=True):
            finite = row[np.isfinite(row)]
            nonfinite = len(row) - len(finite)
            found |= (
                self._finite([tag], finite[None], nonfinite=nonfinite) if len(finite) else {tag: _nothing(nonfinite)}
            )
        return found

    def _finite(self, tags: Sequence[str], ordered: Floats, *, nonfinite: int) -> dict[str, Distribution]:
        """Of rows of finite values in ascending order."""
        ordered = ordered.astype(np.float64)
        size = ordered.shape[1]
        ends = ordered[:, (0, -1)].tolist()
        for tag, (minimum, maximum) in zip(tags, ends, strict=True):
            self._bins[tag] = bins(minimum, maximum, self._bins.get(tag))
        grid = np.array([self._bins[tag] for tag in tags], dtype=np.float64)
        edges = (grid[:, :1] + _GRID) * np.exp2(grid[:, 1:])
        places = np.array([row.searchsorted(edge) for row, edge in zip(ordered, edges, strict=True)])
        places[:, 0], places[:, -1] = 0, size  # the last bin includes its right edge
        percentiles = _percentiles(ordered)  # first: the moments write over the values
        columns = edges, places[:, 1:] - places[:, :-1], _moments(ordered), percentiles
        found = {}
        for tag, (minimum, maximum), edge, counts, (mean, std, skew, kurtosis), percentiles in zip(
            tags, ends, *(column.tolist() for column in columns), strict=True
        ):
            found[tag] = Distribution(
                mean,
                std,
                skew if std > 0 else None,
                kurtosis if std > 0 else None,
                dict(zip(PERCENTILES, percentiles, strict=True)),
                nonfinite,
                Histogram(edge, counts, minimum, maximum, size * mean, size * (std**2 + mean**2), nonfinite),
            )
        return found


_GRID = np.arange(BINS + 1)


def _nothing(nonfinite: int) -> Distribution:
    empty = Histogram([0.0] * (BINS + 1), [0] * BINS, 0.0, 0.0, 0.0, 0.0, nonfinite)
    return Distribution(None, None, None, None, dict.fromkeys(PERCENTILES), nonfinite, empty)


def bins(minimum: float, maximum: float, before: tuple[int, int] | None) -> tuple[int, int]:
    """(k, e): 64 bins of width 2^e from k 2^e on, that hold all values from `minimum` to `maximum`.

    Those of before are kept while they hold the values and the values fill a quarter of them. Edges are multiples of a
    power of two, so that bins of different looks nest.
    """
    constant = minimum == maximum
    if before is not None:
        first, exponent = before
        low, high = minimum * 2.0**-exponent, maximum * 2.0**-exponent
        if first <= low and high <= first + BINS and (constant or high - low >= FEWEST_BINS):
            return before
    if constant:  # it stands within a narrow range
        margin = max(abs(minimum), 1.0) * 1e-3
        minimum, maximum = minimum - margin, maximum + margin
    exponent = math.ceil(math.log2(maximum - minimum)) - int(math.log2(BINS))
    while True:
        low, high = minimum * 2.0**-exponent, maximum * 2.0**-exponent
        for multiple in (32, 16, 8, 4, 2, 1):  # round places: [0, 1], [-4, 4]
            first = math.floor(low / multiple) * multiple
            if high <= first + BINS:
                return first, exponent
        exponent += 1


def _moments(ordered: Floats) -> Floats:
    """Mean, std, skew and kurtosis of each row. Works in place: fresh memory costs more than the arithmetic."""
    size = ordered.shape[1]
    constant = ordered[:, 0] == ordered[:, -1]
    mean = ordered.mean(axis=1, keepdims=True)
    ordered -= mean
    squares = ordered * ordered
    pairs = (ordered, ordered), (squares, ordered), (squares, squares)
    m2, m3, m4 = (np.einsum("ij,ij->i", a, b) / size for a, b in pairs)
    m2[constant] = 0.0  # rounding of the mean leaves it a variance
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.stack([mean[:, 0], np.sqrt(m2), m3 / m2**1.5, m4 / m2**2 - 3], axis=1)


def _percentiles(ordered: Floats) -> Floats:
    """(rows, len(PERCENTILES)), interpolated linearly."""
    before, after, part = _places(ordered.shape[1])
    left, right = ordered[:, before], ordered[:, after]
    found: Floats = left + (right - left) * part
    return found


@cache
def _places(size: int) -> tuple[NDArray[np.integer], NDArray[np.integer], Floats]:
    """Where the percentiles of so many values in ascending order are: between which two, and how far from the first."""
    places = np.array(PERCENTILES) / 100 * (size - 1)
    return np.floor(places).astype(int), np.ceil(places).astype(int), places % 1
