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
    """A data set in memory: images uint8 (N, C, H, W) with values 0 to `scale`, labels int64 (N,)."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    scale: int


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
    epochs: int
    pad: int
    load: Callable[[Any, Path], Arrays]
