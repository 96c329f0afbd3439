"""Order of the training samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from normexp.streams import stream_seed


class BatchSampler:
    """Endless iterator over the indices (B,) of batches. Each epoch is a new permutation; an incomplete last batch is dropped.

    Draws from a random stream of its own, so that the order doesn't depend on dropout.
    """

    def __init__(self, samples: int, batch_size: int, *, seed: int, device: torch.device) -> None:
        self._samples, self._batch_size, self._device = samples, batch_size, device
        self._generator = torch.Generator().manual_seed(stream_seed(seed, "order"))
        self._epoch_start = self._generator.get_state()
        self._drawn = 0
        self._remaining: Iterator[Tensor] = iter(())

    def __iter__(self) -> BatchSampler:
        return self

    def __next__(self) -> Tensor:
        index = next(self._remaining, None)
        if index is None:
            self._start_epoch()
            index = next(self._remaining)
        self._drawn += 1
        return index

    def _start_epoch(self) -> None:
        self._epoch_start = self._generator.get_state()
        order = torch.randperm(self._samples, generator=self._generator).to(self._device)
        self._remaining = iter(order[: self._samples - self._samples % self._batch_size].split(self._batch_size))
        self._drawn = 0

    def state_dict(self) -> dict[str, Any]:
        """The generator's state at the start of the epoch, and the number of batches drawn since."""
        return {"generator": self._epoch_start, "taken": self._drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._generator.set_state(state["generator"])
        self._remaining = iter(())
        for _ in range(state["taken"]):
            next(self)
