"""Moments, percentiles and histograms of recorded values. Bins stay the same over time where possible.

In NumPy, which is five times as fast as torch on these small samples.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from normexp.records import Histogram

Floats = NDArray[np.floating]

BINS = 64
PERCENTILES = (1, 15, 25, 50, 75, 85, 99)  # 15, 50 and 85 are those of Ioffe and Szegedy 2015, figure 1
MIN_BINS = BINS // 4  # if the values span fewer bins, these become finer
MAX_BATCH = 1 << 16  # values to process together; larger batches don't fit into the cache


@dataclass(frozen=True)
class Distribution:
    """Statistics of the finite values. nonfinite: number of the others.

    std: population, sqrt(m2). skew: m3/m2^1.5. kurtosis: excess, m4/m2^2 - 3, which is 0 for a Gaussian. percentiles:
    linearly interpolated. None if undefined: without finite values or, for skew and kurtosis, if all values are equal.
    """

    mean: float | None
    std: float | None
    skew: float | None
    kurtosis: float | None
    percentiles: Mapping[int, float | None]
    nonfinite: int
    histogram: Histogram


class Distributions:
    """Describes the samples of successive snapshots. Remembers the bins of each tag."""

    def __init__(self) -> None:
        self.bins: dict[str, tuple[int, int]] = {}

    def __call__(self, samples: Mapping[str, Floats]) -> dict[str, Distribution]:
        """Distributions by tag. The arrays can have any shape; those of the same size are processed together."""
        groups: dict[int, list[str]] = {}
        for tag, sample in samples.items():
            groups.setdefault(sample.size, []).append(tag)
        distributions: dict[str, Distribution] = {}
        for size, tags in groups.items():
            rows = max(1, MAX_BATCH // max(1, size))
            for start in range(0, len(tags), rows):
                chunk = tags[start : start + rows]
                distributions |= self._describe(chunk, np.stack([samples[tag].ravel() for tag in chunk]))
        return {tag: distributions[tag] for tag in samples}

    def _describe(self, tags: Sequence[str], values: Floats) -> dict[str, Distribution]:
        values.sort(axis=1)
        # Sorting puts -inf first, and inf and NaN last.
        if values.size and np.isfinite(values[:, 0]).all() and np.isfinite(values[:, -1]).all():
            return self._describe_finite(tags, values, nonfinite=0)
        distributions: dict[str, Distribution] = {}
        for tag, row in zip(tags, values, strict=True):
            finite = row[np.isfinite(row)]
            nonfinite = len(row) - len(finite)
            if len(finite):
                distributions |= self._describe_finite([tag], finite[None], nonfinite=nonfinite)
            else:
                histogram = Histogram([0.0] * (BINS + 1), [0] * BINS, 0.0, 0.0, 0.0, 0.0, nonfinite)
                percentiles = dict.fromkeys(PERCENTILES)
                distributions[tag] = Distribution(None, None, None, None, percentiles, nonfinite, histogram)
        return distributions

    def _describe_finite(self, tags: Sequence[str], ordered: Floats, *, nonfinite: int) -> dict[str, Distribution]:
        """ordered: (tags, n), finite, each row in ascending order."""
        ordered = ordered.astype(np.float64)
        size = ordered.shape[1]
        ends = ordered[:, (0, -1)].tolist()
        for tag, (minimum, maximum) in zip(tags, ends, strict=True):
            self.bins[tag] = bins(minimum, maximum, self.bins.get(tag))
        grid = np.array([self.bins[tag] for tag in tags], dtype=np.float64)
        edges = (grid[:, :1] + np.arange(BINS + 1)) * np.exp2(grid[:, 1:])
        ranks = np.array([row.searchsorted(edge) for row, edge in zip(ordered, edges, strict=True)])
        ranks[:, 0], ranks[:, -1] = 0, size  # the last bin includes its right edge
        below, above, weight = _percentile_ranks(size)
        percentiles = ordered[:, below] + (ordered[:, above] - ordered[:, below]) * weight
        moments = _moments(ordered)  # last, since it overwrites the values
        columns = (column.tolist() for column in (edges, np.diff(ranks), moments, percentiles))
        distributions = {}
        rows = zip(tags, ends, *columns, strict=True)
        for tag, (minimum, maximum), edge, counts, (mean, std, *shape), values in rows:
            squares = size * (std**2 + mean**2)
            histogram = Histogram(edge, counts, minimum, maximum, size * mean, squares, nonfinite)
            skew, kurtosis = shape if std > 0 else (None, None)
            by_percent = dict(zip(PERCENTILES, values, strict=True))
            distributions[tag] = Distribution(mean, std, skew, kurtosis, by_percent, nonfinite, histogram)
        return distributions


def bins(minimum: float, maximum: float, before: tuple[int, int] | None) -> tuple[int, int]:
    """(k, e): 64 bins of width 2^e, starting at k 2^e, that cover [minimum, maximum].

    The previous bins are kept as long as they cover the values and the values span a quarter of them. Edges are multiples of a
    power of two, so that the bins of different snapshots nest.
    """
    constant = minimum == maximum
    if before is not None:
        first, exponent = before
        low, high = minimum * 2.0**-exponent, maximum * 2.0**-exponent
        if first <= low and high <= first + BINS and (constant or high - low >= MIN_BINS):
            return before
    if constant:  # a narrow range around the value
        margin = max(abs(minimum), 1.0) * 1e-3
        minimum, maximum = minimum - margin, maximum + margin
    exponent = math.ceil(math.log2(maximum - minimum)) - int(math.log2(BINS))
    while True:
        low, high = minimum * 2.0**-exponent, maximum * 2.0**-exponent
        for multiple in (32, 16, 8, 4, 2, 1):  # prefer round edges: [0, 1], [-4, 4]
            first = math.floor(low / multiple) * multiple
            if high <= first + BINS:
                return first, exponent
        exponent += 1


def _moments(ordered: Floats) -> Floats:
    """Mean, std, skew and kurtosis of each row. In place, since allocating memory costs more than the arithmetic."""
    size = ordered.shape[1]
    constant = ordered[:, 0] == ordered[:, -1]
    mean = ordered.mean(axis=1, keepdims=True)
    ordered -= mean
    squares = ordered * ordered
    pairs = (ordered, ordered), (squares, ordered), (squares, squares)
    m2, m3, m4 = (np.einsum("ij,ij->i", a, b) / size for a, b in pairs)
    m2[constant] = 0.0  # it is not exactly 0, since the mean is rounded
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.stack([mean[:, 0], np.sqrt(m2), m3 / m2**1.5, m4 / m2**2 - 3], axis=1)


@cache
def _percentile_ranks(size: int) -> tuple[NDArray[np.integer], NDArray[np.integer], Floats]:
    """Ranks below and above each percentile of `size` ordered values, and the weight of the rank above."""
    ranks = np.array(PERCENTILES) / 100 * (size - 1)
    return np.floor(ranks).astype(int), np.ceil(ranks).astype(int), ranks % 1
