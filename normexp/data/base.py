"""Registry entry of a data set, its arrays, and computations on them without torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normexp.config import DataConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Images = NDArray[np.uint8]
    Labels = NDArray[np.int64]
else:  # numpy is imported late
    Images = Labels = Any


@dataclass(frozen=True)
class Arrays:
    """Images uint8 (N, C, H, W) with values 0 to `scale`, possibly read-only memory maps, and labels int64 (N,).

    counts: `value_counts` of the training images, if known.
    """

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    scale: int
    counts: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class DataSet:
    """A data set that `data` can choose. `Any` stands for the entry's own config class.

    shape: (C, H, W). epochs: default length of a run. pad: largest shift of the augmentation `crop`, in pixels.
    load: reads the arrays from `data_dir`. Raises ConfigError if the files are missing or damaged.
    """

    name: str
    title: str
    shape: tuple[int, int, int]
    classes: int
    train_samples: int
    test_samples: int
    epochs: int
    pad: int
    load: Callable[[Any, Path], Arrays]
    config: type[DataConfig] = DataConfig


def value_counts(images: Images, scale: int) -> NDArray[np.int64]:
    """Number of occurrences of each value from 0 to `scale` in each channel: (C, scale + 1). Counts pairs of bytes as 16-bit
    integers, in chunks, since np.bincount is slow and converts its input to int64."""
    import numpy as np

    channels = images.shape[1]
    pairs, singles = np.zeros((channels, 256, 256), dtype=np.int64), np.zeros((channels, 256), dtype=np.int64)
    samples = max(1, 2**20 // images[0, 0].size)
    for start in range(0, len(images), samples):
        for c in range(channels):
            values = np.ascontiguousarray(images[start : start + samples, c]).reshape(-1)
            even = len(values) // 2 * 2
            pairs[c] += np.bincount(values[:even].view(np.uint16), minlength=2**16).reshape(256, 256)
            singles[c] += np.bincount(values[even:], minlength=256)
    counts: NDArray[np.int64] = pairs.sum(axis=1) + pairs.sum(axis=2) + singles
    return counts[:, : scale + 1]


def stratified(labels: Labels, size: int, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split labels (N,) into a part of exactly `size` samples and the rest, each with the proportions of the classes. Returns
    their indices, in random order.

    Each class contributes its share of `size`, rounded down; the classes with the largest remainders make up the difference.
    """
    import numpy as np

    assert 0 <= size <= len(labels)
    classes, counts = np.unique(labels, return_counts=True)
    shares = counts * size / len(labels)
    sizes = np.floor(shares).astype(int)
    sizes[np.argsort(sizes - shares, kind="stable")[: size - sizes.sum()]] += 1
    part, rest = [], []
    for label, count in zip(classes, sizes, strict=True):
        members = rng.permutation(np.flatnonzero(labels == label))
        part.append(members[:count])
        rest.append(members[count:])
    return rng.permutation(np.concatenate(part)), rng.permutation(np.concatenate(rest))
