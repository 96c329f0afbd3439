"""A bounded random sample of a layer's values."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from normexp.streams import stream_seed


class Sampler:
    """Picks at most `size` of a tensor's values: all of a small one, else random ones, drawn anew for each step.

    The sample is stratified: with the values in the order channel, sample, position, it takes one, uniformly, from each of
    `size` equal parts. Every value is equally likely to be picked, so that means over the sample are unbiased, and each channel
    gets its share. Within a step, tensors of the same shape are sampled at the same places, so that an activation's inputs and
    outputs stay paired.
    """

    def __init__(self, size: int, *, seed: int) -> None:
        self.size, self._seed = size, seed
        self._step = 0
        self._places: dict[tuple[torch.Size, torch.device], tuple[Tensor, ...]] = {}

    def start(self, step: int) -> None:
        """Draw new places from here on, those of a step."""
        self._step = step
        self._places.clear()

    def __call__(self, values: Tensor) -> Tensor:
        """Sample (B, C, ...): returns a float32 copy, detached, of shape (n, C) if it is all values, else (size, 1)."""
        values = values.detach()
        if values.numel() <= self.size:
            return values.movedim(1, -1).reshape(-1, values.shape[1]).to(torch.float32, copy=True)
        channels_first = values.movedim(1, 0)  # a view
        key = (channels_first.shape, values.device)
        if key not in self._places:
            self._places[key] = self._draw(channels_first.shape, values.device)
        return channels_first[self._places[key]].float()[:, None]

    def _draw(self, shape: torch.Size, device: torch.device) -> tuple[Tensor, ...]:
        """Indices of the sampled values, (size,) for each dimension."""
        # A stream of its own: probing must not move those that training draws from. Its name has the shape, so that it does
        # not matter which other layers are probed.
        generator = torch.Generator().manual_seed(stream_seed(self._seed, "probe", f"{self._step} {tuple(shape)}"))
        within = torch.rand(self.size, generator=generator, dtype=torch.float64)
        flat = ((torch.arange(self.size) + within) * (shape.numel() / self.size)).long().clamp_max(shape.numel() - 1)
        # By NumPy: torch's own unravel_index imports sympy when it is first called, which takes half a second.
        indices = np.stack(np.unravel_index(flat.numpy(), shape))
        return torch.from_numpy(indices).to(device).unbind()  # together: each transfer waits for the GPU
