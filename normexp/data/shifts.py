"""Shifted test sets: images that look different from the training images, as from another camera or in other light.

Each shift maps images float32 (N, C, H, W) in [0, 1] to the same range, before standardization. `noise`, `blur`, `contrast` and
`brightness` are also among the corruptions of Hendrycks and Dietterich 2019 ("Benchmarking neural network robustness to common
corruptions and perturbations"); the strengths are normexp's own. `invert` has one strength, the others have five.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from normexp.streams import stream_seed

CONTRAST = (0.8, 0.6, 0.4, 0.2, 0.1)  # factor of the differences from a channel's mean
BRIGHTNESS = (0.1, 0.2, 0.3, 0.4, 0.5)  # added to all values
BLUR = (0.5, 0.75, 1.0, 1.5, 2.0)  # standard deviation of the Gaussian, in pixels
NOISE = (0.05, 0.1, 0.2, 0.3, 0.4)  # standard deviation of the normal noise
ROTATE = (10.0, 20.0, 30.0, 45.0, 60.0)  # degrees

CHUNK = 500  # images at a time, which bounds the memory

Shift = Callable[[Tensor, int, torch.Generator], Tensor]


def shifted(images: Tensor, scale: int, *, kind: str, severity: int, seed: int) -> Tensor:
    """Shift images uint8 or float32 (N, C, H, W) with values 0 to `scale`; values outside are clipped.

    severity: 1 to 5. Bytes stay bytes, rounded, if scale is 255; otherwise the result is float32. The random numbers are drawn on
    the CPU, so they are the same on every device.
    """
    generator = torch.Generator().manual_seed(stream_seed(seed, "shift", kind))
    whole = images.dtype == torch.uint8 and scale == 255

    def parts() -> Iterator[Tensor]:
        for part in images.split(CHUNK):
            values = SHIFTS[kind](part.float() / scale, severity - 1, generator).clamp_(0, 1) * scale
            yield values.round().to(torch.uint8) if whole else values

    return torch.cat(list(parts()))


def invert(images: Tensor, level: int, generator: torch.Generator) -> Tensor:
    """1 - x."""
    return 1 - images


def contrast(images: Tensor, level: int, generator: torch.Generator) -> Tensor:
    """m + c (x - m), with the mean m of each channel of each image."""
    mean = images.mean((2, 3), keepdim=True)
    return mean + CONTRAST[level] * (images - mean)


def brightness(images: Tensor, level: int, generator: torch.Generator) -> Tensor:
    """x + b."""
    return images + BRIGHTNESS[level]


def blur(images: Tensor, level: int, generator: torch.Generator) -> Tensor:
    """A Gaussian filter, cut off at 4 standard deviations. Pixels outside of an image have the values of its edge."""
    sigma = BLUR[level]
    radius = int(4 * sigma + 0.5)
    distance = torch.arange(-radius, radius + 1, dtype=torch.float64, device=images.device)
    kernel = torch.exp(-(distance**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).float()
    rows = images.flatten(0, 1)[:, None]
    rows = F.conv2d(F.pad(rows, [0, 0, radius, radius], mode="replicate"), kernel[None, None, :, None])
    rows = F.conv2d(F.pad(rows, [radius, radius, 0, 0], mode="replicate"), kernel[None, None, None, :])
    return rows.reshape(images.shape)


def noise(images: Tensor, level: int, generator: torch.Generator) -> Tensor:
    """x plus independent normal noise."""
    return images + NOISE[level] * torch.randn(images.shape, generator=generator).to(images.device)


def rotate(images: Tensor, level: int, generator: torch.Generator) -> Tensor:
    """A rotation about the center, to the left or to the right at random, with linear interpolation. Outside is 0."""
    count, _, height, width = images.shape
    left = torch.rand(count, generator=generator) < 0.5
    angle = math.radians(ROTATE[level]) * (2.0 * left - 1)
    sin, cos, zero = angle.sin(), angle.cos(), torch.zeros(count)
    # grid_sample's coordinates are -1 to 1 along both sides, so a rotation of an oblong image also scales.
    rows = [cos, sin * height / width, zero, -sin * width / height, cos, zero]
    grid = F.affine_grid(
        torch.stack(rows, 1).reshape(-1, 2, 3).to(images.device), list(images.shape), align_corners=False
    )
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


SHIFTS: dict[str, Shift] = {
    "invert": invert,
    "contrast": contrast,
    "brightness": brightness,
    "blur": blur,
    "noise": noise,
    "rotate": rotate,
}
