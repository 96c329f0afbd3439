"""Arrays from a file that `numpy.savez` wrote: x_train, y_train, x_test and y_test, or medmnist's train_images, train_labels, ...

Images are (N, H, W), (N, H, W, C) or (N, C, H, W) with up to 4 channels; vectors are (N, F). Integers from 0 to 255 become bytes,
all other numbers float32. Labels are integers or strings, (N,) or (N, 1). Pickled objects are not loaded.
"""

from __future__ import annotations

import functools
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from normexp.config import ConfigError, DataConfig, join_names, printable, show
from normexp.data import paths
from normexp.data.base import Arrays, DataInfo, DataSet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MEMBERS = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
)
"""Names of the arrays, in lower case: Keras's and medmnist's. medmnist's val_images are not used."""

CLASS_NAMES = "class_names"
"""Optional array of strings: the names of the classes 0, 1, 2, ..."""

KINDS = {"b": "booleans", "u": "integers", "i": "integers", "f": "floats"}
"""Kinds of numbers by numpy's character. One part with bytes and the other with floats from 0 to 1 would not be comparable."""

MAX_CHANNELS = 4
MAX_LABEL_BYTES = 2**30  # a sane file has a thousandth of it
MAX_NAME_LENGTH = 200  # characters of a label or a class name


@dataclass(frozen=True, kw_only=True)
class NpzConfig(DataConfig):
    path: str | None


@dataclass(frozen=True)
class Member:
    """An array in the file: its name, shape and data type."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Content:
    """The content of a file. labels: of the training and the test samples, as indices into info.class_names."""

    info: DataInfo
    train: Member
    test: Member
    channels_last: bool
    labels: tuple[NDArray[np.int64], NDArray[np.int64]]


def inspect(config: NpzConfig) -> DataInfo:
    return _content(paths.data_path("npz", config.path, folder=False)).info


def load(config: NpzConfig, folder: Path) -> Arrays:
    path = paths.data_path("npz", config.path, folder=False)
    content = _content(path)
    train, test = _samples(path, content, content.train), _samples(path, content, content.test)
    is_bytes = train.dtype == test.dtype == "uint8" and train.ndim == 4
    if not is_bytes:
        train, test = (_floats(path, m, x) for m, x in ((content.train, train), (content.test, test)))
    scale = 255 if is_bytes and content.train.dtype != "bool" else 1
    return Arrays(train, content.labels[0], test, content.labels[1], scale)


def _content(path: Path) -> Content:
    try:
        info = path.stat()
    except OSError as error:
        raise ConfigError(f"{show(path, 200)} can't be read ({error.strerror}).") from error
    return _read_content(path, info.st_ino, info.st_size, info.st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _read_content(path: Path, *_: int) -> Content:
    """Read the headers of the images, and the labels. The other arguments change with the file."""
    with _opened(path) as file:
        members = _members(path, file)
        train, train_labels, test, test_labels = _chosen(path, members)
        shape, channels_last = _sample_shape(path, train)
        if (other := _sample_shape(path, test)) != (shape, channels_last):
            raise ConfigError(
                f"{_where(path, test)} has samples of shape {_x(other[0])}, but {train.name} has {_x(shape)}."
            )
        is_bytes = max(train.dtype.itemsize, test.dtype.itemsize) == 1 and len(shape) > 1
        size = sum(math.prod(m.shape) * (1 if is_bytes else max(4, m.dtype.itemsize)) for m in (train, test))
        paths.check_bytes(size, "Use fewer or smaller samples.")
        kinds = [KINDS[member.dtype.kind] for member in (train, test)]
        if kinds[0] != kinds[1]:
            raise ConfigError(
                f"{_where(path, test)} has {kinds[1]}, but {train.name} has {kinds[0]}: save both with the same type and range."
            )
        names = _class_names(path, file, members)
        labels = [_labels(path, file, member) for member in (train_labels, test_labels)]
    for samples, ys, member in ((train, labels[0], train_labels), (test, labels[1], test_labels)):
        if len(ys) != samples.shape[0]:
            raise ConfigError(f"{_where(path, member)} has {len(ys):,} labels for {samples.shape[0]:,} samples.")
    names, indices = _index(path, labels, names, train_labels.name, test_labels.name)
    pad = min(shape[1:]) // 8 if len(shape) > 1 else 0
    info = DataInfo(shape, tuple(map(paths.class_name, names)), len(labels[0]), len(labels[1]), pad)
    return Content(info, train, test, channels_last, (indices[0], indices[1]))


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open the file. Any error of reading it becomes a ConfigError: damage can raise nearly anything."""
    try:
        with zipfile.ZipFile(path) as file:
            yield file
    except ConfigError:
        raise
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        raise ConfigError(f"{show(path, 200)} can't be read as an .npz file ({show(reason, 80)}).") from error


def _members(path: Path, file: zipfile.ZipFile) -> dict[str, Member]:
    """The arrays by their name in lower case."""
    import numpy as np

    members = {}
    for name in file.namelist():
        if not name.endswith(".npy"):
            continue
        with file.open(name) as content:
            version = np.lib.format.read_magic(content)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(content)
        members[name.removesuffix(".npy").lower()] = Member(name.removesuffix(".npy"), shape, dtype)
    return members


def _chosen(path: Path, members: Mapping[str, Member]) -> list[Member]:
    chosen = max(MEMBERS, key=lambda names: sum(name in members for name in names))
    if missing := [name for name in chosen if name not in members]:
        has = f"it has {join_names(printable(m.name) for m in members.values())}" if members else "it has no arrays"
        raise ConfigError(
            f"{show(path, 200)} has no array {join_names(missing)}; {has}. The arrays must be {', '.join(MEMBERS[0])}, or "
            f"{', '.join(MEMBERS[1])}."
        )
    return [members[name] for name in chosen]


def _sample_shape(path: Path, member: Member) -> tuple[tuple[int, ...], bool]:
    """(C, H, W) or (F,), and whether the channels are the last axis."""
    where, shape = _where(path, member), member.shape
    if member.dtype.hasobject:
        raise ConfigError(f"{where} holds Python objects, which are not loaded: save it as an array of numbers.")
    if member.dtype.kind not in "buif" or member.dtype.itemsize > 8:
        raise ConfigError(
            f"{where} has the type {show(member.dtype)}: it must hold integers or floats of at most 64 bits."
        )
    if not 2 <= len(shape) <= 4:
        raise ConfigError(f"{where} has the shape {_x(shape)}: images are N,H,W or N,H,W,C or N,C,H,W, vectors N,F.")
    if 0 in shape:
        raise ConfigError(f"{where} is empty: its shape is {_x(shape)}.")
    if len(shape) < 4:
        return ((1, *shape[1:]) if len(shape) == 3 else shape[1:]), False
    if min(shape[1], shape[3]) <= MAX_CHANNELS:  # of tiny images, the shorter axis
        return ((shape[3], *shape[1:3]), True) if shape[3] <= shape[1] else (shape[1:], False)
    raise ConfigError(f"{where} has the shape {_x(shape)}: images have at most {MAX_CHANNELS} channels, first or last.")


def _labels(path: Path, file: zipfile.ZipFile, member: Member) -> NDArray[Any]:
    """Labels (N,): integers or strings."""
    import numpy as np

    where = _where(path, member)
    if member.dtype.hasobject:
        raise ConfigError(f"{where} holds Python objects, which are not loaded: save it as an array of integers.")
    is_column = len(member.shape) == 1 or (len(member.shape) == 2 and member.shape[1] == 1)
    if not is_column or member.dtype.kind not in "biuU":
        convert = ""
        if is_column and member.dtype.kind == "f":
            convert = " y.astype(int) converts class numbers."
        elif len(member.shape) == 2:
            convert = " y.argmax(1) converts one-hot labels."
        raise ConfigError(
            f"{where} has the shape {_x(member.shape)} and the type {show(member.dtype)}: labels must be N integers or "
            f"strings.{convert}"
        )
    if math.prod(member.shape) * member.dtype.itemsize > MAX_LABEL_BYTES or member.dtype.itemsize > 4 * MAX_NAME_LENGTH:
        raise ConfigError(f"{where} is too large: labels must be N integers or short strings.")
    labels = _array(file, member).reshape(-1)
    return labels if member.dtype.kind == "U" else labels.astype(np.int64)


def _class_names(path: Path, file: zipfile.ZipFile, members: Mapping[str, Member]) -> list[str] | None:
    member = members.get(CLASS_NAMES)
    if member is None:
        return None
    if member.dtype.kind != "U" or len(member.shape) != 1 or member.dtype.itemsize > 4 * MAX_NAME_LENGTH:
        raise ConfigError(f"{_where(path, member)} must be N short strings.")
    if member.shape[0] > paths.MAX_CLASSES:
        raise ConfigError(
            f"{_where(path, member)} has {member.shape[0]:,} names; at most {paths.MAX_CLASSES:,} are possible."
        )
    names = [str(name) for name in _array(file, member)]
    if len(set(names)) < len(names):
        raise ConfigError(f"{_where(path, member)} has the same name twice.")
    return names


def _index(
    path: Path, labels: list[NDArray[Any]], names: list[str] | None, train_name: str, test_name: str
) -> tuple[list[str], list[NDArray[np.int64]]]:
    """Names of the classes, and labels as indices into them. Classes are the values of the training labels, sorted; with class
    names, integer labels are indices already."""
    import numpy as np

    places = [f"{train_name} of {show(path, 200)}", f"{test_name} of {show(path, 200)}"]
    classes: NDArray[Any] = np.unique(labels[0])
    if names is not None:
        classes = np.arange(len(names)) if labels[0].dtype.kind != "U" else np.array(names)
        if len(missing := np.setdiff1d(classes, labels[0])):
            listed = join_names(show(str(name), 40) for name in missing[:5])
            raise ConfigError(
                f"{places[0]} has no samples of {len(missing)} of the {len(names)} {CLASS_NAMES}: {listed}."
            )
        if len(extra := np.setdiff1d(labels[0], classes)):
            raise ConfigError(
                f"{places[0]} has the label {show(str(extra[0]), 40)}, which {CLASS_NAMES} doesn't cover."
            )
    if labels[0].dtype.kind != labels[1].dtype.kind:
        raise ConfigError(f"{places[1]} must have the same type as {train_name}: integers or strings.")
    shown = names or [str(value) for value in classes]
    unknown = [str(value) for value in np.setdiff1d(labels[1], classes)]
    paths.check_classes(shown, unknown, train_place=places[0], test_place=places[1])
    order = np.argsort(classes, kind="stable")
    return shown, [order[np.searchsorted(classes, y, sorter=order)].astype(np.int64) for y in labels]


def _samples(path: Path, content: Content, member: Member) -> NDArray[Any]:
    """Samples (N, C, H, W) or (N, F): bytes if the values are integers from 0 to 255, else as they are."""
    import numpy as np

    with _opened(path) as file:
        values = _array(file, member)
    if values.dtype.kind in "bui" and values.dtype != np.uint8 and values.min() >= 0 and values.max() <= 255:
        values = values.astype(np.uint8)
    if content.channels_last:
        values = np.moveaxis(values, 3, 1)
    return np.ascontiguousarray(values).reshape(-1, *content.info.shape)


def _floats(path: Path, member: Member, values: NDArray[Any]) -> NDArray[np.float32]:
    import numpy as np

    with np.errstate(over="ignore"):
        floats = values.astype(np.float32)
    if not np.isfinite(floats).all():
        raise ConfigError(f"{_where(path, member)} has values that are not finite, or too large for float32.")
    return floats


def _array(file: zipfile.ZipFile, member: Member) -> NDArray[Any]:
    import numpy as np

    content: IO[bytes]
    with file.open(f"{member.name}.npy") as content:
        array: NDArray[Any] = np.lib.format.read_array(content, allow_pickle=False)
    if (array.shape, array.dtype) != (member.shape, member.dtype):
        raise ValueError(f"{member.name} has changed")
    return array


def _where(path: Path, member: Member) -> str:
    return f"{printable(member.name)} of {show(path, 200)}"


def _x(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "()"


ENTRY = DataSet(name="npz", title="arrays of an .npz file", config=NpzConfig, epochs=10, load=load, inspect=inspect)
