"""Image files in one folder per class: DIR/train/CLASS/... and DIR/test/CLASS/..., or DIR/CLASS/..., of which a part is split off
as the test set.

Files are decoded once, to one size, and cached in data_dir; the cache is renewed if a name, size or modification time changes.
Classes are in the order of their names, as in torchvision's ImageFolder. Hidden files and folders are ignored.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from normexp.config import ConfigError, DataConfig, number, show
from normexp.data import paths
from normexp.data.base import Arrays, DataInfo, DataSet, Labels, stratified
from normexp.data.cache import SCALE, SETTLED, CacheSpec, Reader, cached
from normexp.data.image_files import Files, directory_times, list_images
from normexp.data.images import decode, header
from normexp.streams import stream_seed

TEST_SHARE = 0.2  # of the images, if DIR has no train and test folders and data.test_size is null
MAX_DAMAGED_SHARE = 0.01  # a larger part makes results that can't be compared
MAX_SIDE = 512  # of images that data.size does not resize: larger ones are photos, and no network here reads them
MAX_TRIED = 20  # headers to read until one is sound
MAX_LISTED = 3  # damaged files that are named


@dataclass(frozen=True, kw_only=True)
class FolderConfig(DataConfig):
    path: str | None
    size: int | None = number(minimum=1, maximum=1024)
    color: Literal["auto", "gray", "rgb"]
    split_seed: int = number(minimum=0, below=2**63)


def inspect(config: FolderConfig) -> DataInfo:
    root = paths.data_path("folder", config.path, folder=True)
    files = _listed(root, directory_times(root))
    shape = _shape(files, config)
    if "train" in files.names:
        train, test = files.count("train"), files.count("test")
    else:
        test = _test_samples(files, config)
        train = files.count("") - test
    paths.check_bytes((train + test) * math.prod(shape), f"Use a smaller data.size than {max(shape[1:])}.")
    return DataInfo(shape, tuple(map(paths.class_name, files.classes)), train, test, min(shape[1:]) // 8)


def load(config: FolderConfig, folder: Path) -> Arrays:
    root = paths.data_path("folder", config.path, folder=True)
    files = list_images(root)
    shape, classes = _shape(files, config), len(files.classes)
    (train, train_labels), (test, test_labels) = _splits(files, config)
    sources, labels = [*train, *test], [*train_labels.tolist(), *test_labels.tolist()]

    def decode_all(read: Reader) -> Arrays:
        import numpy as np

        images, marked = np.zeros((len(sources), *shape), dtype=np.uint8), np.array(labels, dtype=np.int64)
        problems = decode(sources, images, what=show(root, 200))
        _check_damage(problems, sources, root)
        marked[list(problems)] = classes  # not the label of a class: left out below, whenever the cache is read
        k = len(train)
        return Arrays(images[:k], marked[:k], images[k:], marked[k:], SCALE)

    started = time.time_ns()
    split = _test_key(config) if "" in files.names else []
    spec = CacheSpec(
        name=f"folder-{_hash([os.fspath(root.resolve()), *shape, *split])}",
        train=(len(train), *shape),
        test=(len(test), *shape),
        classes=classes + 1,
        verified=False,
        listing=_hash([files.digest]),
    )
    if started - files.newest < SETTLED * 1e9:  # a later change might leave the modification time as it is
        arrays = decode_all(lambda path, *, max_bytes: bytearray())
    else:
        arrays = cached(spec, folder, [root], decode_all)
    return _without_damaged(arrays, classes, sources, root)


def _splits(files: Files, config: FolderConfig) -> list[tuple[list[Path], Labels]]:
    """Paths and labels of the training and of the test images."""
    import numpy as np

    if "train" in files.names:
        return [files.labeled("train"), files.labeled("test")]
    found, labels = files.labeled("")
    rng = np.random.default_rng(stream_seed(config.split_seed, "test split"))
    test, train = (np.sort(part) for part in stratified(labels, _test_samples(files, config), rng))
    return [([found[i] for i in part], labels[part]) for part in (train, test)]


def _test_samples(files: Files, config: FolderConfig) -> int:
    total = files.count("")
    size = max(1, round(TEST_SHARE * total)) if config.test_size is None else config.test_size
    if size >= total:
        raise ConfigError(
            f"data.test_size={size}: {show(files.root, 200)} has {total:,} images, and no training images are left."
        )
    return size


def _test_key(config: FolderConfig) -> list[int | None]:
    return [config.test_size, config.split_seed]


def _shape(files: Files, config: FolderConfig) -> tuple[int, int, int]:
    """(C, H, W) by data.size and data.color, or else by the first image that can be read."""
    if config.size is not None and config.color != "auto":
        return 1 if config.color == "gray" else 3, config.size, config.size
    height, width, gray = _first_header(files)
    if config.size is None and max(height, width) > MAX_SIDE:
        raise ConfigError(
            f"The images in {show(files.root, 200)} have {width}x{height} pixels: set the size to which they are resized, such "
            "as data.size=64."
        )
    channels = {"auto": 1 if gray else 3, "gray": 1, "rgb": 3}[config.color]
    return channels, config.size or height, config.size or width


def _first_header(files: Files) -> tuple[int, int, bool]:
    names = next(iter(files.names.values()))
    tried = [files.root / name for part in names.values() for name in part][:MAX_TRIED]
    reason = ""
    for path in tried:
        try:
            return header(path)
        except ValueError as error:
            reason = reason or f"{show(path, 200)}: {error}"
    raise ConfigError(f"The first {len(tried)} images in {show(files.root, 200)} can't be read ({reason}).")


def _check_damage(problems: Mapping[int, str], sources: Sequence[Path], root: Path) -> None:
    if len(problems) > MAX_DAMAGED_SHARE * len(sources):
        listed = _list_problems([f"{_relative(sources[i], root)}: {problems[i]}" for i in sorted(problems)])
        raise ConfigError(
            f"{len(problems):,} of the {len(sources):,} images in {show(root, 200)} can't be read ({listed}). Repair or delete "
            f"them; up to {MAX_DAMAGED_SHARE:.0%} would be left out."
        )


def _without_damaged(arrays: Arrays, classes: int, sources: Sequence[Path], root: Path) -> Arrays:
    """The arrays without the images that could not be decoded, which are listed on standard error."""
    import numpy as np

    sound = [labels < classes for labels in (arrays.train_labels, arrays.test_labels)]
    damaged = np.flatnonzero(~np.concatenate(sound))
    if not len(damaged):
        return arrays
    listed = _list_problems([_relative(sources[i], root) for i in damaged.tolist()])
    what = "is left out, since it" if len(damaged) == 1 else "are left out, since they"
    print(f"note: {len(damaged):,} of {len(sources):,} images {what} can't be read: {listed}", file=sys.stderr)
    return replace(
        arrays,
        train_images=arrays.train_images[sound[0]],
        train_labels=arrays.train_labels[sound[0]],
        test_images=arrays.test_images[sound[1]],
        test_labels=arrays.test_labels[sound[1]],
        counts=None,
    )


def _list_problems(texts: Sequence[str]) -> str:
    more = [f"{len(texts) - MAX_LISTED:,} more"] if len(texts) > MAX_LISTED else []
    return ", ".join([*(show(text, 160) for text in texts[:MAX_LISTED]), *more])


def _relative(path: Path, root: Path) -> str:
    return os.fspath(path.relative_to(root))


@functools.lru_cache(maxsize=4)
def _listed(root: Path, times: tuple[int, ...]) -> Files:
    return list_images(root)


def _hash(parts: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


ENTRY = DataSet(name="folder", title="images in folders", config=FolderConfig, epochs=10, load=load, inspect=inspect)
