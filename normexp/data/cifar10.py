"""CIFAR-10 (Krizhevsky 2009): 50,000 + 10,000 colour images of 32x32 pixels, in torchvision's layout."""

from __future__ import annotations

import hashlib
import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from normexp.config import ConfigError, DataConfig
from normexp.data.base import Arrays, DataSet

# The md5 of each file as published at https://www.cs.toronto.edu/~kriz/cifar.html (listed in torchvision.datasets.CIFAR10).
TRAIN = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
}
TEST = {"test_batch": "40351d587109b95175f43aff81a1287e"}


@dataclass(frozen=True, kw_only=True)
class Cifar10Config(DataConfig):
    verify: bool


def load(config: Cifar10Config, folder: Path) -> Arrays:
    import numpy as np

    from normexp.data.download import fetch

    root = folder / "cifar-10-batches-py"
    missing = [file for file in (*TRAIN, *TEST) if not (root / file).is_file()]
    if missing:
        fetch("CIFAR10", folder, expected=root / missing[0])
    train = [_read(root / file, md5 if config.verify else None) for file, md5 in TRAIN.items()]
    ((test_images, test_labels),) = [_read(root / file, md5 if config.verify else None) for file, md5 in TEST.items()]
    images, labels = zip(*train, strict=True)
    return Arrays(np.concatenate(images), np.concatenate(labels), test_images, test_labels, scale=255)


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that builds plain values and numpy arrays and refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        import numpy as np

        if module.startswith("numpy"):
            if name == "_reconstruct":
                return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
            if name in ("ndarray", "dtype"):
                return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):  # how protocol 2 spells bytes
            return _encode
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding}")
    return text.encode("latin1")


def _read(path: Path, md5: str | None) -> tuple[Any, Any]:
    """Images uint8 (10000, 3, 32, 32) and labels of one file; ConfigError where it is not what was published."""
    import numpy as np

    content = path.read_bytes()
    if md5 is not None and hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise ConfigError(
            f"{path} differs from the published file (md5). Delete the folder and it is downloaded again; "
            "data.verify=false takes a copy that was packed anew."
        )
    try:
        batch = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
        images, labels = batch["data"], np.asarray(batch["labels"], dtype=np.int64)
        sound = images.shape == (10_000, 3072) and images.dtype == np.uint8 and labels.shape == (10_000,)
        sound = sound and labels.min() >= 0 and labels.max() <= 9
    # A damaged pickle can raise nearly anything; whatever it is, the file is at fault.
    except Exception as error:
        raise ConfigError(
            f"{path} can't be read as a batch of CIFAR-10: {str(error) or type(error).__name__}."
        ) from error
    if not sound:
        raise ConfigError(f"{path} does not hold 10,000 images of 32x32 pixels with labels 0 to 9: it is damaged.")
    return images.reshape(-1, 3, 32, 32), labels


ENTRY = DataSet(
    name="cifar10",
    title="CIFAR-10",
    config=Cifar10Config,
    shape=(3, 32, 32),
    classes=10,
    train_samples=50_000,
    epochs=10,
    pad=4,
    load=load,
)
