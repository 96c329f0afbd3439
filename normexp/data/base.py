"""What a data set is to the rest of the program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normexp.config import DataConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Arrays:
    """A data set: images uint8 (N, C, H, W) with values 0 to `scale`, in memory or as read-only maps of a file; labels int64
    (N,). counts: the `value_counts` of the training images, where they are known."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    scale: int
    counts: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class DataSet:
    """An entry of the table of data sets.

    epochs: how many suit it, for a config that names neither epochs nor steps. pad: by how much `crop` shifts.
    load: (config, folder) to Arrays; raises ConfigError where the files are not there or not what they should be.
    """

    name: str
    title: str
    config: type[DataConfig]
    shape: tuple[int, int, int]
    classes: int
    train_samples: int
    test_samples: int
    epochs: int
    pad: int
    load: Callable[[Any, Path], Arrays]


def value_counts(images: NDArray[np.uint8], scale: int) -> NDArray[np.int64]:
    """How often each of the values 0 to `scale` occurs in each channel, (C, scale + 1).

    Pairs of bytes are counted, as numbers of 16 bits, in pieces: np.bincount is slow, and makes eight bytes of each number.
    """
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
