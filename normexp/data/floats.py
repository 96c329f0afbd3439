"""Mean, standard deviation and covariance of samples that are not bytes: float32 images (N, C, H, W) or vectors (N, F).

All sums are in float64, in chunks, and in two passes: first the mean, then the squared differences from it.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Samples = NDArray[np.float32] | NDArray[np.uint8]

CHUNK_VALUES = 2**20  # values to convert to float64 at a time


def channel_moments(samples: Samples) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each channel or feature: (C,) or (F,) each. A constant one gets std 1."""
    values_per_channel = max(1, samples[0, 0].size)
    means, variances = value_moments(samples)
    means, variances = (m.reshape(len(m), values_per_channel) for m in (means, variances))
    mean = means.mean(axis=1)
    variance = variances.mean(axis=1) + ((means - mean[:, None]) ** 2).mean(axis=1)
    axes = (0, *range(2, samples.ndim))
    constant = samples.max(axis=axes) == samples.min(axis=axes)  # their variance may be a rounding error
    return mean, np.sqrt(np.where(constant | (variance == 0), 1.0, variance))


def value_scales(samples: Samples, *, eps: float) -> tuple[Floats, Floats]:
    """Mean and sqrt(var + eps * average var) of each value of a sample, as pixel_scales of pixels.py: (C, H, W) or (F,) each."""
    mean, variance = value_moments(samples)
    average = variance.mean()
    return mean, np.sqrt(variance + eps * average) if average > 0 else np.ones_like(variance)


def value_moments(samples: Samples) -> tuple[Floats, Floats]:
    """Mean and biased variance of each value of a sample: (C, H, W) or (F,) each."""
    mean, variance = np.zeros(samples.shape[1:]), np.zeros(samples.shape[1:])
    for part in _chunks(samples):
        mean += part.sum(axis=0) / len(samples)
    for part in _chunks(samples):
        variance += ((part - mean) ** 2).sum(axis=0) / len(samples)
    return mean, variance


def covariance(samples: Samples) -> tuple[Floats, Floats]:
    """Mean (D,) and biased covariance (D, D) of all values of a sample."""
    mean = value_moments(samples)[0].reshape(-1)
    products = np.zeros((len(mean), len(mean)))
    for part in _chunks(samples):
        centered = part.reshape(len(part), -1) - mean
        products += centered.T @ centered
    return mean, products / len(samples)


def _chunks(samples: Samples) -> Iterator[Floats]:
    size = max(1, CHUNK_VALUES // samples[0].size)
    for start in range(0, len(samples), size):
        yield samples[start : start + size].astype(np.float64)
