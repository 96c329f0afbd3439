"""A bounded sample of a layer's values, with its channels kept apart."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


class Sampler:
    """Picks at most `size` of a tensor's values: all of a small one, else the same places at every look.

    A place is a sample and a position of the image, and brings all channels there, so that a channel that is never on can be
    told. The places are spread evenly (one in each of n equal strata of the batch's positions) and differ from those of
    other shapes. Very wide layers lose channels before they lose all but a few places.
    """

    LEAST_PLACES = 16

    def __init__(self, size: int) -> None:
        self.size = size
        self._places: dict[tuple[torch.Size, torch.device], tuple[Tensor, ...]] = {}

    def __call__(self, values: Tensor) -> Tensor:
        """Of (B, C, ...) a copy of shape (n, C), float32, apart from the graph of gradients."""
        last = values.detach().movedim(1, -1)  # a view; in memory, the channels are often last already
        if values.numel() <= self.size:
            return last.reshape(-1, last.shape[-1]).to(torch.float32, copy=True)
        key = (values.shape, values.device)
        if key not in self._places:
            self._places[key] = self._choose(last.shape, values.device)
        *places, channels = self._places[key]
        found = last[tuple(places)].float()
        return found if len(channels) == found.shape[1] else found[:, channels]

    def _choose(self, shape: torch.Size, device: torch.device) -> tuple[Tensor, ...]:
        """Indices of the places, one tensor a dimension, and of the channels."""
        # A generator of its own: looking must not move the streams that training draws from.
        generator = torch.Generator().manual_seed(0)
        rows, width = math.prod(shape[:-1]), shape[-1]
        count = min(rows, max(self.size // width, self.LEAST_PLACES))
        strata = (torch.arange(count) + torch.rand(count, generator=generator, dtype=torch.float64)) * (rows / count)
        # By NumPy: torch's own unravel_index imports sympy when it is first called, which takes half a second.
        places = map(torch.from_numpy, np.unravel_index(strata.long().clamp_max(rows - 1).numpy(), shape[:-1]))
        channels = torch.randperm(width, generator=generator)[: max(1, self.size // count)].sort().values
        return tuple(index.to(device) for index in (*places, channels))
