"""Files and folders that `data.path` names."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from normexp.config import ConfigError, expand_path, join_names, nearest, printable, show

MAX_BYTES = 2**33
"""8 GiB: the data set is one tensor in memory, and while it is read there are two copies."""

MAX_CLASSES = 2**15
"""Labels that fit into the cache. Larger numbers are regression targets or indices, not classes."""


class DataFilesError(ConfigError):
    """The files that `data.path` names can't be used, whatever the rest of the config."""


class MissingDataError(DataFilesError):
    """`data.path` does not exist."""


def data_path(name: str, path: str | None, *, folder: bool) -> Path:
    """The file or folder of data=`name`. Raises ConfigError with the nearest name if it does not exist."""
    kind = "folder" if folder else "file"
    if not path:
        raise ConfigError(f"data={name} needs data.path={'DIR' if folder else 'FILE'}, the {kind} with the data.")
    found = expand_path("data.path", path)
    try:
        exists = found.exists()
        if found.is_dir() if folder else found.is_file():
            return found
    except OSError as error:
        raise ConfigError(f"data.path={show(path, 200)} can't be opened ({error.strerror}).") from error
    if exists:
        other = " For a folder of images, use data=folder." if found.is_dir() else ""
        other = " For an .npz file, use data=npz." if folder and found.is_file() else other
        raise ConfigError(f"data.path={show(path, 200)} is not a {'folder' if folder else 'regular file'}.{other}")
    siblings: dict[str, Path] = {}
    with suppress(OSError):
        siblings = {entry.name: entry for entry in found.parent.iterdir() if entry.is_dir() == folder}
    close = nearest(found.name, sorted(siblings))
    hint = f" Did you mean {show(siblings[close], 200)}?" if close else ""
    raise MissingDataError(f"data.path={show(path, 200)}: there is no such {kind}.{hint}")


def check_bytes(size: int, advice: str) -> None:
    """Raise ConfigError if the arrays of a data set don't fit into memory."""
    if size > MAX_BYTES:
        raise ConfigError(
            f"The data would take {size / 2**30:,.1f} GiB of memory; at most {MAX_BYTES / 2**30:.0f} are possible. {advice}"
        )


def class_name(name: object) -> str:
    """A class name from a file, printable and at most 40 characters long."""
    return show(printable(name), 40)


def check_classes(names: Sequence[str], unknown: Sequence[str], *, train_place: str, test_place: str) -> None:
    """Raise ConfigError unless there are 2 or more classes, and the test set has no unknown ones."""
    if len(names) < 2:
        only = f"only the class {class_name(names[0])}" if names else "no samples"
        raise ConfigError(f"{train_place} has {only}: at least 2 classes are needed.")
    if len(names) > MAX_CLASSES:
        raise ConfigError(f"{train_place} has {len(names):,} classes; at most {MAX_CLASSES:,} are possible.")
    if unknown:
        listed = join_names(map(class_name, unknown[:5]))
        count = "a class" if len(unknown) == 1 else f"{len(unknown)} classes"
        raise ConfigError(f"{test_place} has {count} without training samples: {listed}.")
