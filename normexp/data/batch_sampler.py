"""The order in which training takes its samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from normexp.streams import stream_seed


class Order:
    """Indices (B,) of one batch after another, for ever: each epoch in a new order, without its incomplete last batch.

    It draws from a stream of its own, so that it is the same whatever the network draws for dropout.
    """

    def __init__(self, samples: int, batch_size: int, *, seed: int, device: torch.device) -> None:
        self._samples, self._batch_size, self._device = samples, batch_size, device
        self._generator = torch.Generator().manual_seed(stream_seed(seed, "order"))
        self._before = self._generator.get_state()  # of this epoch
        self._taken = 0
        self._left: Iterator[Tensor] = iter(())

    def __iter__(self) -> Order:
        return self

    def __next__(self) -> Tensor:
        index = next(self._left, None)
        if index is None:
            self._draw()
            index = next(self._left)
        self._taken += 1
        return index

    def _draw(self) -> None:
        self._before = self._generator.get_state()
        order = torch.randperm(self._samples, generator=self._generator).to(self._device)
        self._left = iter(order[: self._samples - self._samples % self._batch_size].split(self._batch_size))
        self._taken = 0

    def state_dict(self) -> dict[str, Any]:
        """The generator's state before this epoch, and how many of its batches have been taken."""
        return {"generator": self._before, "taken": self._taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._generator.set_state(state["generator"])
        self._left = iter(())
        for _ in range(state["taken"]):
            next(self)
