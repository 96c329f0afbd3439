"""Bounded random sample of a layer's values."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from normexp.streams import stream_seed


class Sampler:
    """Samples at most `size` values of a tensor, with new random indices at each step. Small tensors are kept whole.

    The sample is stratified: the values, in the order channel, sample, position, are divided into `size` equal parts, and one
    value is drawn uniformly from each. Every value is equally likely, so means over the sample are unbiased, and each channel
    gets its share. Within a step, tensors of the same shape use the same indices, so that an activation's inputs and outputs
    stay paired.
    """

    def __init__(self, size: int, *, seed: int) -> None:
        self.size, self._seed = size, seed
        self._step = 0
        self._indices: dict[tuple[torch.Size, torch.device], tuple[Tensor, ...]] = {}

    def start(self, step: int) -> None:
        """Use the indices of this step from now on."""
        self._step = step
        self._indices.clear()

    def __call__(self, values: Tensor) -> Tensor:
        """Sample (B, C, ...). Returns a detached float32 copy of shape (n, C) if it holds all values, else (size, 1)."""
        values = values.detach()
        if values.numel() <= self.size:
            return values.movedim(1, -1).reshape(-1, values.shape[1]).to(torch.float32, copy=True)
        channels_first = values.movedim(1, 0)  # a view
        key = (channels_first.shape, values.device)
        if key not in self._indices:
            self._indices[key] = self._draw(channels_first.shape, values.device)
        return channels_first[self._indices[key]].float()[:, None]

    def _draw(self, shape: torch.Size, device: torch.device) -> tuple[Tensor, ...]:
        """Indices of the sampled values, (size,) for each dimension."""
        # A stream of its own, so that probing leaves training's random numbers alone. The shape is part of its name, so that
        # the sample doesn't depend on which other layers are probed.
        generator = torch.Generator().manual_seed(stream_seed(self._seed, "probe", f"{self._step} {tuple(shape)}"))
        within = torch.rand(self.size, generator=generator, dtype=torch.float64)
        flat = ((torch.arange(self.size) + within) * (shape.numel() / self.size)).long().clamp_max(shape.numel() - 1)
        # NumPy's unravel_index: torch's imports sympy on its first call, which takes half a second.
        indices = np.stack(np.unravel_index(flat.numpy(), shape))
        return torch.from_numpy(indices).to(device).unbind()  # one transfer, since each waits for the GPU
