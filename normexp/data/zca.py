"""ZCA whitening: pixel values become uncorrelated, with variance 1 over the training data, and images stay recognizable.

    W (x - mean)    with    W = U diag((lambda + eps)^-1/2) U^T

where U diag(lambda) U^T is the covariance of all D = C H W values of a training image (LeCun et al. 1998, "Efficient BackProp",
section 4.3; Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images"). Of all whitening
matrices, the symmetric one changes the images least. eps limits the gain in directions in which the training images hardly vary.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]


def zca(images: NDArray[np.uint8], scale: int, *, eps: float) -> tuple[Floats, Floats]:
    """Mean (C, H, W) and W (D, D) of images (N, C, H, W) with values 0 to `scale`. N may be less than D.

    eps: in units of the mean eigenvalue, which is the mean variance of a value. For constant images, W is the identity.
    """
    mean, covariance = moments(images.reshape(len(images), -1), scale)
    return mean.reshape(images.shape[1:]), whitening_matrix(covariance, eps=eps)


def whitening_matrix(covariance: Floats, *, eps: float) -> Floats:
    """W (D, D) of a covariance (D, D)."""
    eigenvalues, vectors = np.linalg.eigh(covariance)
    average = np.trace(covariance) / len(covariance)
    # Rounding can make eigenvalues of 0 slightly negative.
    floored = np.maximum(eigenvalues, 0) + eps * average if average > 0 else np.ones_like(eigenvalues)
    root = vectors * floored**-0.25  # root @ root.T is symmetric to the last bit
    whitening: Floats = root @ root.T
    return whitening


def moments(values: NDArray[np.uint8], scale: int) -> tuple[Floats, Floats]:
    """Mean (D,) and biased covariance (D, D) of integers (N, D) from 0 to `scale`.

    The sums are exact, so they don't depend on their order or on the number of threads: values are centered around 0, and
    samples are processed in chunks so small that float32 holds every sum of products exactly.
    """
    middle = (scale + 1) // 2
    count, chunk = len(values), 2**24 // middle**2
    assert (count * middle) ** 2 < 2**53
    sums, products = np.zeros(values.shape[1]), np.zeros((values.shape[1], values.shape[1]))
    for start in range(0, count, chunk):
        part = values[start : start + chunk].astype(np.float32) - np.float32(middle)
        sums += part.sum(axis=0, dtype=np.float64)
        products += part.T @ part
    return sums / count + middle, (count * products - np.outer(sums, sums)) / count**2


def whitened(images: Tensor, matrix: Tensor) -> Tensor:
    """W x for each of the centered images (B, C, H, W), in full float32, whatever precision the network uses."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(images.device.type, enabled=False):
            return (images.flatten(1) @ matrix).view_as(images)
    finally:
        torch.set_float32_matmul_precision(before)
