"""Splitting labelled data so that every part keeps the proportions of the classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def stratified(
    labels: NDArray[np.int64], size: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of a part with exactly `size` samples, and of the rest, both in random order.

    Each class gives its share of `size`, rounded down; what is missing is taken from the classes with the largest remainders.
    """
    assert 0 <= size <= len(labels)
    classes, counts = np.unique(labels, return_counts=True)
    shares = counts * size / len(labels)
    take = np.floor(shares).astype(int)
    for extra in np.argsort(take - shares, kind="stable")[: size - take.sum()]:
        take[extra] += 1
    part, rest = [], []
    for label, count in zip(classes, take, strict=True):
        members = rng.permutation(np.flatnonzero(labels == label))
        part.append(members[:count])
        rest.append(members[count:])
    return rng.permutation(np.concatenate(part)), rng.permutation(np.concatenate(rest))
