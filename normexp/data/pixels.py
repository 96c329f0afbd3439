"""Standardization of each pixel by its own moments over the training images.

    (x - mean) / sqrt(var + eps * average var)

with the mean and the biased variance of each of the D = C H W values of an image (LeCun et al. 1998, "Efficient BackProp",
section 4.3). It is the diagonal of ZCA whitening: with the same eps, the two differ only by the correlations between pixels.
eps limits the gain of pixels that hardly vary, such as the borders of MNIST, whose few strokes would become outliers.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CHUNK_VALUES = 2**20  # pixels to convert to integers of 64 bits at a time


def pixel_scales(images: NDArray[np.uint8], *, eps: float) -> tuple[Floats, Floats]:
    """Mean and sqrt(var + eps * average var) of each pixel of images (N, C, H, W): (C, H, W) each, in units of a pixel.

    eps: in units of the mean variance of a pixel. For constant images, the scale is 1.
    """
    mean, variance = pixel_moments(images)
    average = variance.mean()
    return mean, np.sqrt(variance + eps * average) if average > 0 else np.ones_like(variance)


def pixel_moments(images: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Mean and biased variance of each pixel of images (N, C, H, W): (C, H, W) each.

    The sums are integers, so they are exact and don't depend on the order of the images.
    """
    count, shape = len(images), images.shape[1:]
    sums, squares = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    samples = max(1, CHUNK_VALUES // sums.size)
    for start in range(0, count, samples):
        part = images[start : start + samples].astype(np.int64)
        sums += part.sum(axis=0)
        squares += (part**2).sum(axis=0)
    return sums / count, (count * squares - sums**2) / count**2
