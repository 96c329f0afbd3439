"""MNIST's file format, idx, in torchvision's layout: FOLDER/NAME/raw/train-images-idx3-ubyte and so on.

Format: http://yann.lecun.com/exdb/mnist: big-endian, two zero bytes, the type (8: uint8), the number of dimensions, each
dimension as int32, then the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from normexp.config import ConfigError, DataConfig
from normexp.data.base import Arrays
from normexp.data.cache import CacheSpec, Reader, cached, is_published
from normexp.data.download import fetch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILES = {
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}


def load(config: DataConfig, folder: Path, *, name: str, md5: Mapping[str, str] | None = None) -> Arrays:
    """The arrays of MNIST, or of a data set in the same format. Downloads missing files. Raises ConfigError.

    md5: checksums of the published files, if known.
    """
    raw = folder / name / "raw"
    files = [raw / file for file in FILES]
    fetch(name, folder, files=files)
    spec = CacheSpec(
        name=name, train=(60_000, 1, 28, 28), test=(10_000, 1, 28, 28), classes=10, verified=md5 is not None
    )
    return cached(spec, folder, files, lambda read: _decode(raw, md5, read))


def _decode(raw: Path, md5: Mapping[str, str] | None, read: Reader) -> Arrays:
    import numpy as np

    images, labels, test_images, test_labels = (
        _values(raw / file, shape, md5[file] if md5 else None, read) for file, shape in FILES.items()
    )
    return Arrays(
        images[:, None], labels.astype(np.int64), test_images[:, None], test_labels.astype(np.int64), scale=255
    )


def _values(path: Path, shape: tuple[int, ...], md5: str | None, read: Reader) -> NDArray[np.uint8]:
    """The values of an idx file. Raises ConfigError if it differs from the published one."""
    import numpy as np

    header = np.array([0x0800 + len(shape), *shape], dtype=">i4").tobytes()
    expected = len(header) + int(np.prod(shape))
    content = read(path, max_bytes=2 * expected)
    if len(content) != expected:
        raise ConfigError(
            f"{path} has {len(content):,} bytes where the published file has {expected:,}: "
            "it is cut short or not the right file. Delete it and it is downloaded again."
        )
    if content[: len(header)] != header:
        raise ConfigError(
            f"{path} does not start as the published file does: it is damaged or another file. Delete it."
        )
    values = np.frombuffer(content, dtype=np.uint8, offset=len(header)).reshape(shape)
    if len(shape) == 1 and values.max() > 9:
        raise ConfigError(
            f"{path} holds a label {values.max()}, where labels go from 0 to 9: it is damaged. Delete it."
        )
    if md5 is not None and not is_published(content, md5):
        raise ConfigError(
            f"{path} differs from the published file (md5): it is damaged or was changed. Delete it and it is downloaded again."
        )
    return values
