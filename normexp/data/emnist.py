"""EMNIST (Cohen et al. 2017, arXiv:1702.05373): handwritten letters and digits of 28x28 pixels, in MNIST's format.

The files hold each image with rows and columns swapped; here, they are upright.
"""

import string
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from normexp.config import DataConfig
from normexp.data import mnist
from normexp.data.base import Arrays, DataInfo, DataSet
from normexp.data.download import fetch

BALANCED = string.digits + string.ascii_uppercase + "abdefghnqrt"
"""Lower-case letters that look like their upper case are one class with it."""

# Numbers of training and test samples in the headers of the published idx files, which `load` compares; smallest label, classes.
# Of the 145,600 letters, TensorFlow Datasets reads the first 88,800 + 14,800 only.
SPLITS = {
    "balanced": (112_800, 18_800, 0, tuple(BALANCED)),
    "letters": (124_800, 20_800, 1, tuple(string.ascii_lowercase)),
    "digits": (240_000, 40_000, 0, tuple(string.digits)),
}


@dataclass(frozen=True, kw_only=True)
class EmnistConfig(DataConfig):
    split: Literal["balanced", "letters", "digits"]


def inspect(config: EmnistConfig) -> DataInfo:
    train, test, _, names = SPLITS[config.split]
    return DataInfo((1, 28, 28), names, train, test, pad=3)


def load(config: EmnistConfig, folder: Path) -> Arrays:
    train, test, first, names = SPLITS[config.split]
    files: dict[str, tuple[tuple[int, ...], str | None]] = {}
    for part, count in (("train", train), ("test", test)):
        files[f"emnist-{config.split}-{part}-images-idx3-ubyte"] = ((count, 28, 28), None)
        files[f"emnist-{config.split}-{part}-labels-idx1-ubyte"] = ((count,), None)
    raw = folder / "EMNIST" / "raw"
    # The published checksum is that of the archive with all splits.
    fetch("EMNIST", folder, files=[raw / file for file in files], parts=[{"split": config.split, "train": True}])
    labels = (first, first + len(names) - 1)
    name = f"EMNIST-{config.split}"
    return mnist.load_idx(folder, raw, files, name=name, verified=False, labels=labels, transposed=True)


ENTRY = DataSet(name="emnist", title="EMNIST", config=EmnistConfig, epochs=3, load=load, inspect=inspect)
