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

    Images = NDArray[np.uint8] | NDArray[np.float32]
    Labels = NDArray[np.int64]
else:  # numpy is imported late
    Images = Labels = Any


@dataclass(frozen=True)
class Arrays:
    """Images uint8 (N, C, H, W) with values 0 to `scale`, possibly read-only memory maps, or images or vectors (N, F) in float32,
    with scale 1; and labels int64 (N,).

    counts: `value_counts` of the training images, if known.
    """

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    scale: int
    counts: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class DataInfo:
    """Shape of a sample, (C, H, W) or (F,), names of the classes, numbers of samples, and largest shift of `crop` in pixels."""

    shape: tuple[int, ...]
    class_names: tuple[str, ...]
    train_samples: int
    test_samples: int
    pad: int = 0

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


@dataclass(frozen=True)
class DataSet:
    """A data set that `data` can choose. `Any` stands for the entry's own config class.

    epochs: default length of a run. load: reads the arrays from `data_dir`. Raises ConfigError if the files are missing or
    damaged. shape, classes, train_samples, test_samples, pad, class_names: as in DataInfo; classes without names are numbered.
    inspect: gives the DataInfo instead if it depends on the config's files. It is called often and before torch is imported, so
    it reads headers only, and raises ConfigError for files that can't be used.
    """

    name: str
    title: str
    epochs: int
    load: Callable[[Any, Path], Arrays]
    shape: tuple[int, ...] = ()
    classes: int = 0
    train_samples: int = 0
    test_samples: int = 0
    pad: int = 0
    class_names: tuple[str, ...] = ()
    inspect: Callable[[Any], DataInfo] | None = None
    config: type[DataConfig] = DataConfig

    def info(self, config: DataConfig) -> DataInfo:
        """Shape, classes and numbers of samples with this config."""
        if self.inspect is not None:
            return self.inspect(config)
        names = self.class_names or tuple(map(str, range(self.classes)))
        return DataInfo(self.shape, names, self.train_samples, self.test_samples, self.pad)


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
