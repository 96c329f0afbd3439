"""Histograms of a bounded number of values, binned on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from normexp.record import Histogram

BINS = 64


class Sampler:
    """Picks at most `size` of a tensor's values: all of a small one, else the same random places at every look."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._places: dict[tuple[int, torch.device], Tensor] = {}

    def __call__(self, values: Tensor) -> Tensor:
        """1-D float32. The order in memory is of no importance, so that a channels-last tensor is not copied."""
        flat = values.detach().permute(*_by_stride(values)).reshape(-1)
        if len(flat) <= self.size:
            return flat.float()
        key = (len(flat), flat.device)
        if key not in self._places:
            # A generator of its own: looking must not move the streams that training draws from.
            generator = torch.Generator().manual_seed(0)
            self._places[key] = torch.randint(len(flat), (self.size,), generator=generator).to(flat.device)
        return flat[self._places[key]].float()


def _by_stride(values: Tensor) -> list[int]:
    return sorted(range(values.dim()), key=lambda d: -values.stride(d))


def histogram(values: Tensor) -> Histogram:
    """Of a 1-D tensor, from its smallest to its largest finite value; without any, all counts are 0.

    Values that are all the same stand in the middle bin of a narrow range around them.
    """
    finite = values[values.isfinite()].double()
    if len(finite) == 0:
        return Histogram([0.0] * (BINS + 1), [0] * BINS, 0.0, 0.0, 0.0, 0.0, len(values))
    minimum, maximum = finite.aminmax()
    margin = torch.where(minimum == maximum, minimum.abs().clamp_min(1.0) * 1e-3, 0.0)
    low, high = minimum - margin, maximum + margin
    bins = ((finite - low) * (BINS / (high - low))).to(torch.int64).clamp_(0, BINS - 1)
    counts = torch.bincount(bins, minlength=BINS).tolist()
    *summary, first, last = torch.stack([minimum, maximum, finite.sum(), finite.square().sum(), low, high]).tolist()
    edges = torch.linspace(first, last, BINS + 1, dtype=torch.float64).tolist()
    return Histogram(edges, counts, *summary, nonfinite=len(values) - len(finite))
