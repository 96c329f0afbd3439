"""Histograms of bounded samples, of all layers at once, binned on the device."""

from __future__ import annotations

from collections.abc import Sequence

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
        order = sorted(range(values.dim()), key=values.stride, reverse=True)
        flat = values.detach().permute(order).reshape(-1)
        if len(flat) > self.size:
            key = (len(flat), flat.device)
            if key not in self._places:
                # A generator of its own: looking must not move the streams that training draws from.
                generator = torch.Generator().manual_seed(0)
                self._places[key] = torch.randint(len(flat), (self.size,), generator=generator).to(flat.device)
            flat = flat[self._places[key]]
        return flat.float()


def histograms(samples: Sequence[Tensor]) -> list[Histogram]:
    """Of each 1-D sample, from its smallest to its largest finite value; without any, all counts are 0.

    Values that are all the same stand in the middle of a narrow range around them. All samples are binned together, since
    the operations on one are too small to be worth their calls, and the device is asked once.
    """
    lengths = torch.tensor([len(sample) for sample in samples])
    # Padding is NaN, and is counted with what is not finite until the end.
    table = torch.nn.utils.rnn.pad_sequence(list(samples), batch_first=True, padding_value=torch.nan).double()
    finite = table.isfinite()
    minimum = torch.where(finite, table, torch.inf).amin(1, keepdim=True)
    maximum = torch.where(finite, table, -torch.inf).amax(1, keepdim=True)
    margin = torch.where(minimum == maximum, minimum.abs().clamp_min(1.0) * 1e-3, 0.0)
    low, high = minimum - margin, maximum + margin
    bins = ((table - low) * (BINS / (high - low))).nan_to_num_(0.0).clamp_(0, BINS - 1).to(torch.int64)
    bins[~finite] = BINS
    rows = torch.arange(len(samples), device=table.device)[:, None] * (BINS + 1)
    counts = torch.bincount((bins + rows).flatten(), minlength=len(samples) * (BINS + 1)).view(-1, BINS + 1)
    kept = torch.where(finite, table, 0.0)
    sums = torch.stack([kept.sum(1), kept.square().sum(1)], dim=1)
    fetched = torch.cat([minimum, maximum, low, high, sums, counts], dim=1).cpu()
    edges = torch.lerp(fetched[:, 2:3], fetched[:, 3:4], torch.linspace(0, 1, BINS + 1, dtype=torch.float64))
    nonfinite = (lengths - fetched[:, 6:-1].sum(1)).long()
    values = zip(fetched.tolist(), edges.tolist(), nonfinite.tolist(), lengths.tolist(), strict=True)
    return [_histogram(row, edge, missing, length) for row, edge, missing, length in values]


def _histogram(row: list[float], edges: list[float], nonfinite: int, length: int) -> Histogram:
    if nonfinite == length:
        return Histogram([0.0] * (BINS + 1), [0] * BINS, 0.0, 0.0, 0.0, 0.0, nonfinite)
    minimum, maximum, _, _, total, squares, *counts, _ = row
    return Histogram(edges, [int(count) for count in counts], minimum, maximum, total, squares, nonfinite)
