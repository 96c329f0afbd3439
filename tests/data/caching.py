"""A small data set whose cache is tested."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from normexp.config import ConfigError
from normexp.data import cache
from normexp.data.base import Arrays, value_counts

SPEC = cache.CacheSpec(name="tiny", train=(60, 1, 28, 28), test=(20, 1, 28, 28), classes=10, verified=True)


def decode(read, folder):
    """Decode 80 images of 28x28 pixels and their labels from two files."""
    images = np.frombuffer(read(folder / "images", max_bytes=10**6), np.uint8).reshape(80, 1, 28, 28)
    labels = np.frombuffer(read(folder / "labels", max_bytes=10**6), np.uint8).astype(np.int64)
    if images[0, 0, 0, 0] == 255:
        raise ConfigError("It is damaged.")
    return Arrays(images[:60], labels[:60], images[60:], labels[60:], scale=255)


@dataclass
class Data:
    """A data set in a folder, which counts how often it is decoded."""

    folder: Path
    spec: cache.CacheSpec = SPEC
    decoded: int = 0
    sources: list[Path] = field(default_factory=list)

    def __post_init__(self):
        self.folder.mkdir(exist_ok=True)
        self.sources = [self.folder / "images", self.folder / "labels"]
        self.sources[0].write_bytes(np.random.default_rng(0).integers(0, 250, 80 * 784, dtype=np.uint8).tobytes())
        self.sources[1].write_bytes(bytes(range(10)) * 8)

    def _decode(self, read):
        self.decoded += 1
        return decode(read, self.folder)

    def load(self, **changes):
        """How often this load decoded. Checks that the result is always the content of the sources."""
        self.decoded = 0
        arrays = cache.cached(replace(self.spec, **changes), self.folder, self.sources, self._decode)
        images, labels = (np.frombuffer(source.read_bytes(), np.uint8) for source in self.sources)
        found = np.concatenate([arrays.train_images, arrays.test_images]).reshape(-1)
        assert found.dtype == np.uint8 and np.array_equal(found, images)
        found = np.concatenate([arrays.train_labels, arrays.test_labels])
        assert found.dtype == np.int64 and np.array_equal(found, labels)
        if arrays.counts is not None:
            assert np.array_equal(arrays.counts, value_counts(arrays.train_images, 255))
        return self.decoded


def kept(folder):
    """The names of all files in a folder and below."""
    return sorted(path.name for path in folder.rglob("*") if not path.is_dir())
