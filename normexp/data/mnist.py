"""MNIST (LeCun et al. 1998): 60,000 + 10,000 handwritten digits of 28x28 pixels, in torchvision's layout.

The format idx (http://yann.lecun.com/exdb/mnist) is big-endian: two zero bytes, the type (8: uint8), the number of dimensions,
each dimension as int32, then the values.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from normexp.config import ConfigError, DataConfig
from normexp.data.base import Arrays, DataSet, Images
from normexp.data.cache import CacheSpec, Reader, cached
from normexp.data.download import fetch

# Shape of each file's values, and md5 of MNIST's published file, uncompressed.
FILES = {
    "train-images-idx3-ubyte": ((60_000, 28, 28), "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": ((60_000,), "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": ((10_000, 28, 28), "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": ((10_000,), "27ae3e4e09519cfbb04c329615203637"),
}
ADVICE = "Delete it to download it again"


@dataclass(frozen=True, kw_only=True)
class MnistConfig(DataConfig):
    verify: bool = True  # for configs that were stored before the key existed


def load(config: MnistConfig, folder: Path) -> Arrays:
    return load_files(folder, name="MNIST", verify=config.verify)


def load_files(folder: Path, *, name: str, verify: bool) -> Arrays:
    """Load MNIST, or a data set in the same format. Downloads missing files. Raises ConfigError.

    verify: compare the files with MNIST's published checksums.
    """
    raw = folder / name / "raw"
    fetch(name, folder, files=[raw / file for file in FILES])
    files = {file: (shape, md5 if verify else None) for file, (shape, md5) in FILES.items()}
    return load_idx(folder, raw, files, name=name, verified=verify)


def load_idx(
    folder: Path,
    raw: Path,
    files: Mapping[str, tuple[tuple[int, ...], str | None]],
    *,
    name: str,
    verified: bool,
    labels: tuple[int, int] = (0, 9),
    transposed: bool = False,
) -> Arrays:
    """Load training images and labels, test images and labels from four idx files in `raw`, of which shapes and md5 are given.

    name: of the cache. labels: the smallest, which becomes 0, and the largest. transposed: whether rows and columns of the images
    are swapped in the files.
    """

    def decode(read: Reader) -> Arrays:
        values = (_values(raw / file, shape, md5, read, labels) for file, (shape, md5) in files.items())
        images, train, test_images, test = values
        images, test_images = (x.swapaxes(1, 2) if transposed else x for x in (images, test_images))
        ys = (y.astype("int64") - labels[0] for y in (train, test))
        return Arrays(images[:, None], next(ys), test_images[:, None], next(ys), 255)

    (train, *size), _, (test, *_), _ = (shape for shape, _ in files.values())
    spec = CacheSpec(
        name=name,
        train=(train, 1, size[0], size[1]),
        test=(test, 1, size[0], size[1]),
        classes=labels[1] - labels[0] + 1,
        verified=verified,
    )
    return cached(spec, folder, [raw / file for file in files], decode)


def _values(
    path: Path, shape: tuple[int, ...], md5: str | None, read: Reader, labels: tuple[int, int] = (0, 9)
) -> Images:
    """Read the values of an idx file. Raises ConfigError if it differs from the published one."""
    import numpy as np

    header = np.array([0x0800 + len(shape), *shape], dtype=">i4").tobytes()
    expected = len(header) + int(np.prod(shape))
    content = read(path, max_bytes=2 * expected)
    if len(content) != expected:
        raise ConfigError(f"{path} has {len(content):,} bytes, but the published file has {expected:,}. {ADVICE}.")
    if content[: len(header)] != header:
        raise ConfigError(f"{path} is not the published file: its header differs. {ADVICE}.")
    values = np.frombuffer(content, dtype=np.uint8, offset=len(header)).reshape(shape)
    if len(shape) == 1 and not labels[0] <= values.min() <= values.max() <= labels[1]:
        wrong = values.max() if values.max() > labels[1] else values.min()
        raise ConfigError(
            f"{path} is damaged: it has the label {wrong}, but labels are {labels[0]} to {labels[1]}. {ADVICE}."
        )
    if md5 is not None and hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise ConfigError(
            f"{path} differs from the published file (md5). {ADVICE}, or set data.verify=false to use it anyway."
        )
    return values


ENTRY = DataSet(
    name="mnist",
    title="MNIST",
    config=MnistConfig,
    shape=(1, 28, 28),
    classes=10,
    train_samples=60_000,
    test_samples=10_000,
    epochs=3,
    pad=3,
    load=load,
)
