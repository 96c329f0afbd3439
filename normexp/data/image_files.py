"""List the image files below a folder: DIR/train/CLASS/... and DIR/test/CLASS/..., or DIR/CLASS/..."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from normexp.config import ConfigError, join_names, show
from normexp.data import paths
from normexp.data.base import Labels
from normexp.data.images import NAMED_FORMATS, SUFFIXES

OTHER_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}
"""Names, in lower case, of folders that are parts of a data set instead of classes. Only `train` and `test` are read."""


@dataclass(frozen=True)
class Files:
    """Image files below a folder. names: relative paths, by split (train and test, or an empty string for both) and class.
    newest: latest modification time in ns. digest: hash of all names, sizes and modification times."""

    root: Path
    names: Mapping[str, Mapping[str, Sequence[str]]]
    newest: int
    digest: str

    @property
    def classes(self) -> list[str]:
        return sorted(self.names["train" if "train" in self.names else ""])

    def count(self, split: str) -> int:
        """Number of images of a split."""
        return sum(map(len, self.names[split].values()))

    def labeled(self, split: str) -> tuple[list[Path], Labels]:
        """Paths and labels of a split, by class and name."""
        import numpy as np

        pairs = [(self.root / n, self.classes.index(c)) for c, names in self.names[split].items() for n in names]
        return [path for path, _ in pairs], np.array([label for _, label in pairs], dtype=np.int64)


def directory_times(root: Path) -> tuple[int, ...]:
    """Modification times of the folder and of those up to two levels below: they change when files are added, renamed or
    deleted."""
    try:
        folders = [root, *_folders(root)]
        inner = [folder for parent in folders[1:] for folder in _folders(parent)]
        return tuple(folder.stat().st_mtime_ns for folder in [*folders, *inner])
    except OSError as error:
        raise _unreadable(error, root) from error


def list_images(root: Path) -> Files:
    """List the images. Raises ConfigError if there are none, or fewer than 2 classes."""
    try:
        folders = {folder.name: folder for folder in _folders(root)}
        is_split = "train" in folders and bool(_folders(folders["train"]))
        if not is_split:
            _check_layout(root, folders)
        splits = {"train": folders["train"], "test": folders.get("test")} if is_split else {"": root}
        names: dict[str, dict[str, list[str]]] = {}
        newest, digest = 0, hashlib.sha256()
        for split, place in splits.items():
            if place is None:
                others = [name for name in folders if name != "train" and name.lower() in OTHER_SPLITS]
                works = f"Rename {others[0]} to test" if others else "Add it"
                raise ConfigError(
                    f"{show(root, 200)} has a folder train, but no folder test. {works}, or use "
                    f"data.path={show(folders['train'], 200)}, of which a part becomes the test set."
                )
            names[split] = {}
            for folder in _folders(place):
                found = _images(folder, root)
                if not found:
                    raise ConfigError(
                        f"{show(folder, 200)} has no images ({join_names(NAMED_FORMATS)}): its class would be empty. Delete it, "
                        "or add images."
                    )
                names[split][folder.name] = [name for name, _, _ in found]
                newest = max(newest, *(time for _, _, time in found))
                for name, size, changed in found:
                    digest.update(os.fsencode(f"{name}\0{size}\0{changed}\0"))
    except OSError as error:
        raise _unreadable(error, root) from error
    first, *others = names
    unknown = sorted(set(names["test"]) - set(names["train"])) if others else []
    place = root / first
    if not names[first]:
        raise ConfigError(f"{show(place, 200)} has no folders: each class needs a folder with its images.")
    paths.check_classes([*names[first]], unknown, train_place=show(place, 200), test_place=show(root / "test", 200))
    if others and not names["test"]:
        raise ConfigError(f"{show(root / 'test', 200)} has no folders: each class needs a folder with its images.")
    return Files(root, names, newest, digest.hexdigest())


def _check_layout(root: Path, folders: Mapping[str, Path]) -> None:
    """Raise ConfigError if the folders that would be classes contain folders of classes."""
    inner = {name: _folders(folder) for name, folder in folders.items()}
    if inner and all(inner.values()) and {name.lower() for name in inner} <= OTHER_SPLITS:
        several = "s" if len(inner) > 1 else ""
        raise ConfigError(
            f"{show(root, 200)} has the folder{several} {join_names(inner)}: the parts of the data must be in folders named "
            "train and test."
        )
    if [len(below) > 1 for below in inner.values()] == [True]:
        only = show(next(iter(folders.values())), 200)
        raise ConfigError(
            f"{show(root, 200)} has a single folder, which would be the only class. Did you mean data.path={only}?"
        )


def _unreadable(error: OSError, root: Path) -> ConfigError:
    return ConfigError(f"{show(error.filename or root, 200)} can't be read ({error.strerror}).")


def _folders(place: Path) -> list[Path]:
    """The visible folders in a folder, by name."""
    with os.scandir(place) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    return [place / name for name in sorted(names)]


def _images(folder: Path, root: Path) -> list[tuple[str, int, int]]:
    """Name relative to `root`, size and modification time in ns of the images in a folder and below, by name. Links to files are
    followed, links to folders are not."""
    found, pending = [], [folder]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
                elif entry.name.lower().endswith(SUFFIXES) and entry.is_file():
                    info = entry.stat()
                    found.append((os.path.relpath(entry.path, root), info.st_size, info.st_mtime_ns))
    return sorted(found)
