"""Augmentation of whole batches on their device."""

from __future__ import annotations

import torch
from torch import Tensor

from normexp.streams import stream_seed


class Augment:
    """Random shifts (`crop`) and horizontal flips (`flip`) of a batch (B, C, H, W), independently for each image.

    The shift is that of He et al. 2015, section 4.2: pad with `pad` zeros on all sides and crop to the image's size. Random
    numbers come from a stream of their own.
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
