"""ZCA whitening: images that look like themselves, with values that are uncorrelated and of variance 1 over the training data.

    W (x - mean)    with    W = U diag((lambda + eps)^-1/2) U^T

where U diag(lambda) U^T is the covariance of all D = C H W values of a training image (LeCun et al. 1998, "Efficient BackProp",
section 4.3; Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images"). Of all matrices that whiten, the
symmetric one changes the images least. eps bounds what is made of directions in which the training images hardly differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]


def zca(images: NDArray[np.uint8], scale: int, *, eps: float) -> tuple[Floats, Floats]:
    """mean (C, H, W) and W (D, D) of images (N, C, H, W) with values 0 to `scale`; N may be less than D.

    eps: in units of the mean eigenvalue, which is the mean variance of a value. Images without any variance keep their values.
    """
    mean, covariance = moments(images.reshape(len(images), -1), scale)
    eigenvalues, vectors = np.linalg.eigh(covariance)
    average = np.trace(covariance) / len(covariance)
    # Those that should be 0 come out a little above or below it.
    floored = np.maximum(eigenvalues, 0) + eps * average if average > 0 else np.ones_like(eigenvalues)
    root = vectors * floored**-0.25  # a product with its own transpose is symmetric to the bit
    return mean.reshape(images.shape[1:]), root @ root.T


def moments(values: NDArray[np.uint8], scale: int) -> tuple[Floats, Floats]:
    """Mean (D,) and covariance (D, D), divided by N, of whole numbers (N, D) from 0 to `scale`.

    The sums are exact, whatever the order and the number of threads: of numbers around 0, as many samples at once as leave
    every sum of their products a whole number that float32 can hold.
    """
    middle = (scale + 1) // 2
    count, at_once = len(values), 2**24 // middle**2
    assert (count * middle) ** 2 < 2**53
    sums, products = np.zeros(values.shape[1]), np.zeros((values.shape[1], values.shape[1]))
    for start in range(0, count, at_once):
        part = values[start : start + at_once].astype(np.float32) - np.float32(middle)
        sums += part.sum(axis=0, dtype=np.float64)
        products += part.T @ part
    return sums / count + middle, (count * products - np.outer(sums, sums)) / count**2


def whitened(images: Tensor, matrix: Tensor) -> Tensor:
    """W x of each of the centred images (B, C, H, W), in whole float32, as data should be, however the network computes."""
    with torch.autocast(images.device.type, enabled=False), _whole_products():
        return (images.flatten(1) @ matrix).view_as(images)


@contextmanager
def _whole_products() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
