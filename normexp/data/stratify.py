"""Stratified splits. Without torch, since a sweep's driver loads data sets that need them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def stratified(
    labels: NDArray[np.int64], size: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split labels (N,) into a part of exactly `size` samples and the rest, each with the proportions of the classes. Returns
    their indices, in random order.

    Each class contributes its share of `size`, rounded down; the classes with the largest remainders make up the difference.
    """
    assert 0 <= size <= len(labels)
    classes, counts = np.unique(labels, return_counts=True)
    shares = counts * size / len(labels)
    sizes = np.floor(shares).astype(int)
    for extra in np.argsort(sizes - shares, kind="stable")[: size - sizes.sum()]:
        sizes[extra] += 1
    part, rest = [], []
    for label, count in zip(classes, sizes, strict=True):
        members = rng.permutation(np.flatnonzero(labels == label))
        part.append(members[:count])
        rest.append(members[count:])
    return rng.permutation(np.concatenate(part)), rng.permutation(np.concatenate(rest))
