"""SVHN (Netzer et al. 2011): 73,257 + 26,032 color images of 32x32 pixels with house numbers, in torchvision's layout.

The files are MATLAB's. A label is that of the digit in the middle; the files call the digit 0 10. The 531,131 extra images are
not used.
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

from normexp.config import ConfigError, DataConfig, show
from normexp.data.base import Arrays, DataSet, Images, Labels
from normexp.data.cache import CacheSpec, Reader, cached
from normexp.data.download import fetch

# Number of images in each file, and its md5 (listed in torchvision.datasets.SVHN).
FILES = {
    "train_32x32.mat": (73_257, "e26dedcc434d2e4c54c9b2d4a06d8373"),
    "test_32x32.mat": (26_032, "eb5a983be6a315427106f1b164d9cef3"),
}
MAX_BYTES = 200_000_000  # the training file has 182 MB


@dataclass(frozen=True, kw_only=True)
class SvhnConfig(DataConfig):
    verify: bool


def load(config: SvhnConfig, folder: Path) -> Arrays:
    files = [folder / file for file in FILES]
    train, test = (count for count, _ in FILES.values())

    def decode(read: Reader) -> Arrays:
        parts = [
            _read_mat(path, count, md5 if config.verify else None, read)
            for path, (count, md5) in zip(files, FILES.values(), strict=True)
        ]
        (images, labels), (test_images, test_labels) = parts
        return Arrays(images, labels, test_images, test_labels, scale=255)

    fetch("SVHN", folder, files=files, parts=[{"split": "train"}, {"split": "test"}])
    shape = (3, 32, 32)
    spec = CacheSpec(name="SVHN", train=(train, *shape), test=(test, *shape), classes=10, verified=config.verify)
    return cached(spec, folder, files, decode)


def _read_mat(path: Path, count: int, md5: str | None, read: Reader) -> tuple[Images, Labels]:
    """Read images uint8 (count, 3, 32, 32) and labels (count,) of a file. Raises ConfigError if it is not as published."""
    import numpy as np
    from scipy.io import loadmat, whosmat

    content = read(path, max_bytes=MAX_BYTES)
    if md5 is not None and hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise ConfigError(
            f"{path} differs from the published file (md5). Delete it to download it again, or set data.verify=false to use it "
            "anyway."
        )
    damaged = f"{path} is damaged: expected {count:,} images of 32x32 pixels with labels 1 to 10."
    try:
        # Shapes first: a small file could unpack to any size.
        shapes = {name: shape for name, shape, _ in whosmat(io.BytesIO(content))}
        if (shapes.get("X"), shapes.get("y")) != ((32, 32, 3, count), (count, 1)):
            raise ConfigError(damaged)
        arrays = loadmat(io.BytesIO(content), variable_names=["X", "y"])
    except ConfigError:
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        reason = show(str(error) or type(error).__name__)
        raise ConfigError(f"{path} is not a MATLAB file with SVHN's images ({reason}).") from error
    images, labels = arrays["X"], arrays["y"].reshape(-1)
    if images.dtype != np.uint8 or labels.dtype.kind not in "uif" or not np.isin(labels, range(1, 11)).all():
        raise ConfigError(damaged)
    return np.ascontiguousarray(images.transpose(3, 2, 0, 1)), labels.astype(np.int64) % 10


ENTRY = DataSet(
    name="svhn",
    title="SVHN",
    config=SvhnConfig,
    shape=(3, 32, 32),
    classes=10,
    train_samples=73_257,
    test_samples=26_032,
    epochs=5,
    pad=4,
    load=load,
)
