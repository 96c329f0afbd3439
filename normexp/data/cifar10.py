"""CIFAR-10 (Krizhevsky 2009): 50,000 + 10,000 colour images of 32x32 pixels, in torchvision's layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normexp.config import ConfigError, DataConfig, show
from normexp.data.base import Arrays, DataSet
from normexp.data.cache import Kind, cached
from normexp.data.download import fetch
from normexp.data.files import Reader, is_published
from normexp.data.pickled import Call, values

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The md5 of each file as published at https://www.cs.toronto.edu/~kriz/cifar.html (listed in torchvision.datasets.CIFAR10).
TRAIN = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
}
TEST = {"test_batch": "40351d587109b95175f43aff81a1287e"}

MOST = 100_000_000
"""Bytes of a file: three times those of a published one."""


@dataclass(frozen=True, kw_only=True)
class Cifar10Config(DataConfig):
    verify: bool


def load(config: Cifar10Config, folder: Path) -> Arrays:
    root = folder / "cifar-10-batches-py"
    files = [root / file for file in (*TRAIN, *TEST)]
    fetch("CIFAR10", folder, files=files)
    kind = Kind(name="CIFAR10", train=(50_000, 3, 32, 32), test=(10_000, 3, 32, 32), classes=10, verified=config.verify)
    return cached(kind, folder, files, lambda read: _decode(root, config.verify, read))


def _decode(root: Path, verify: bool, read: Reader) -> Arrays:
    import numpy as np

    images, labels = np.empty((60_000, 3, 32, 32), dtype=np.uint8), np.empty(60_000, dtype=np.int64)
    for i, (file, md5) in enumerate({**TRAIN, **TEST}.items()):
        part = slice(10_000 * i, 10_000 * (i + 1))
        images[part], labels[part] = _batch(root / file, md5 if verify else None, read)
    return Arrays(images[:50_000], labels[:50_000], images[50_000:], labels[50_000:], scale=255)


def _batch(path: Path, md5: str | None, read: Reader) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images uint8 (10000, 3, 32, 32) and labels of one file; ConfigError where it is not what was published."""
    import numpy as np

    content = read(path, most=MOST)
    if md5 is not None and not is_published(content, md5):
        raise ConfigError(
            f"{path} differs from the published file (md5). Delete the folder and it is downloaded again; "
            "data.verify=false takes a copy that was packed anew."
        )
    try:
        batch = values(content)
        pixels, labels = _pixels(batch["data"]), batch["labels"]
    # A damaged pickle can raise nearly anything; whatever it is, the file is at fault.
    except Exception as error:
        raise ConfigError(
            f"{path} can't be read as a batch of CIFAR-10 ({show(str(error) or type(error).__name__)})."
        ) from error
    sound = len(pixels) == 10_000 * 3072 and isinstance(labels, list) and len(labels) == 10_000
    if not sound or not all(type(label) is int and 0 <= label <= 9 for label in labels):
        raise ConfigError(f"{path} does not hold 10,000 images of 32x32 pixels with labels 0 to 9: it is damaged.")
    images = np.frombuffer(pixels, dtype=np.uint8).reshape(-1, 3, 32, 32)
    return images, np.array(labels, dtype=np.int64)


def _pixels(array: Any) -> bytes:
    """The bytes of an array uint8 (10000, 3072), as `values` found it; none where it has another shape or type."""
    match array:
        case Call("_reconstruct", state=(1, (10_000, 3072), Call("dtype", ("u1", *_)), False, content)):
            pass
        case _:
            return b""
    match content:
        case bytes():
            return content
        case str():  # Python 2's bytes
            return content.encode("latin1")
        case Call("encode", (str() as text, "latin1")):
            return text.encode("latin1")
    return b""


ENTRY = DataSet(
    name="cifar10",
    title="CIFAR-10",
    config=Cifar10Config,
    shape=(3, 32, 32),
    classes=10,
    train_samples=50_000,
    test_samples=10_000,
    epochs=10,
    pad=4,
    load=load,
)
