"""Random samples of large tensors, bounded in size."""

import numpy as np
import torch
from torch import Tensor

from normexp.streams import stream_seed


class Sampler:
    """Samples at most `size` values of a tensor, with new random indices at each step. Small tensors are kept whole.

    The sample is stratified: the values, in the order channel, sample, position, are divided into `size` equal parts, and one
    value is drawn uniformly from each. Every value is equally likely, so sample means are unbiased, and each channel gets its
    share. Within a step, tensors of the same shape use the same indices, so that an activation's inputs and outputs stay paired.

    Each micro-batch gives its part of the sample of the whole batch, which does not depend on `accumulate`.
    """

    def __init__(self, size: int, *, seed: int) -> None:
        self.size, self._seed, self._step = size, seed, 0
        self._accumulate, self._micro_batch = 1, 0
        self._indices: dict[tuple[torch.Size, torch.device], tuple[Tensor, ...]] = {}

    def start(self, step: int, accumulate: int = 1) -> None:
        """Use the indices of this step for all following samples."""
        self._step, self._accumulate = step, accumulate
        self.start_micro_batch(0)

    def start_micro_batch(self, number: int) -> None:
        """The following samples are of this micro-batch, 0 to accumulate - 1."""
        self._micro_batch = number
        self._indices.clear()

    def __call__(self, values: Tensor) -> Tensor:
        """Sample (B, C, ...). Returns a detached float32 copy of shape (n, C) if it holds all values, else (size, 1), or the
        micro-batch's part of it."""
        values = values.detach()
        if values.numel() * self._accumulate <= self.size:
            return values.movedim(1, -1).reshape(-1, values.shape[1]).to(torch.float32, copy=True)
        channels_first = values.movedim(1, 0)  # a view
        key = (channels_first.shape, values.device)
        if key not in self._indices:
            self._indices[key] = self._draw(*key)
        return channels_first[self._indices[key]].float()[:, None]

    def _draw(self, shape: torch.Size, device: torch.device) -> tuple[Tensor, ...]:
        """Indices of the sampled values of a micro-batch of this shape, (C, B, ...), for each dimension: (size,), or fewer if it
        is a part of the batch."""
        channels, samples, *positions = shape
        shape = torch.Size((channels, samples * self._accumulate, *positions))  # of the whole batch
        # A separate stream, so that probing does not affect training's random numbers. The shape is part of its name, so that the
        # sample does not depend on which other layers are probed.
        generator = torch.Generator().manual_seed(stream_seed(self._seed, "probe", f"{self._step} {tuple(shape)}"))
        within = torch.rand(self.size, generator=generator, dtype=torch.float64)
        flat = ((torch.arange(self.size) + within) * (shape.numel() / self.size)).long().clamp_max(shape.numel() - 1)
        # NumPy's unravel_index, since torch's imports sympy on its first call, which takes half a second.
        indices = np.stack(np.unravel_index(flat.numpy(), shape))
        if self._accumulate > 1:
            indices = indices[:, indices[1] // samples == self._micro_batch]
            indices[1] %= samples
        return torch.from_numpy(indices).to(device).unbind()  # one transfer, since each waits for the GPU
