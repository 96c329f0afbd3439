"""Order and augmentation of the training batches. Each has its own random stream, independent of dropout."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from normexp.streams import stream_seed


class BatchSampler(Iterator[Tensor]):
    """Endless iterator over the indices (B,) of batches. Each epoch is a new permutation; an incomplete last batch is dropped.

    sort_by: labels (N,) by which the samples of each batch are sorted, if given.
    """

    def __init__(
        self, samples: int, batch_size: int, *, seed: int, device: torch.device, sort_by: Tensor | None = None
    ) -> None:
        self._samples, self._batch_size, self._device, self._sort_by = samples, batch_size, device, sort_by
        self._generator = torch.Generator().manual_seed(stream_seed(seed, "order"))
        self._epoch_start = self._generator.get_state()
        self._drawn = 0
        self._remaining: Iterator[Tensor] = iter(())

    def __next__(self) -> Tensor:
        index = next(self._remaining, None)
        if index is None:
            self._epoch_start = self._generator.get_state()
            order = torch.randperm(self._samples, generator=self._generator).to(self._device)
            self._remaining = iter(order[: self._samples - self._samples % self._batch_size].split(self._batch_size))
            self._drawn = 0
            index = next(self._remaining)
        self._drawn += 1
        return index if self._sort_by is None else index[self._sort_by[index].argsort(stable=True)]

    def state_dict(self) -> dict[str, Any]:
        """The generator's state at the start of the epoch, and the number of batches drawn since."""
        return {"generator": self._epoch_start, "taken": self._drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._generator.set_state(state["generator"])
        self._remaining = iter(())
        for _ in range(state["taken"]):
            next(self)


class Augment:
    """Random shifts (`crop`) and horizontal flips (`flip`) of a batch (B, C, H, W), independently for each image.

    The shift is that of He et al. 2015, section 4.2: pad with `pad` zeros on all sides and crop to the image's size.
    """

    def __init__(self, *, crop: bool, flip: bool, pad: int, seed: int, device: torch.device) -> None:
        self.pad = pad if crop else 0
        self.flip = flip
        self.generator = torch.Generator(device).manual_seed(stream_seed(seed, "augmentation"))

    def __call__(self, images: Tensor) -> Tensor:
        batch, channels, height, width = images.shape
        device = images.device
        rows = torch.arange(height, device=device).expand(batch, height)
        cols = torch.arange(width, device=device).expand(batch, width)
        if self.flip:
            mirrored = torch.rand(batch, 1, generator=self.generator, device=device) < 0.5
            cols = torch.where(mirrored, width - 1 - cols, cols)
        if self.pad:
            shifts = torch.randint(2 * self.pad + 1, (2, batch, 1), generator=self.generator, device=device)
            rows, cols = rows + shifts[0], cols + shifts[1]
            images = torch.nn.functional.pad(images, [self.pad] * 4)
        n = torch.arange(batch, device=device)[:, None, None, None]
        c = torch.arange(channels, device=device)[None, :, None, None]
        return images[n, c, rows[:, None, :, None], cols[:, None, None, :]]
