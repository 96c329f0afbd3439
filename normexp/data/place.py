"""Where the cache of a data set may lie, who may have written there, and how one process of several gets to make it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

PATIENCE = 60.0
"""Seconds to wait for another process that decodes the same data."""


def places(folder: Path) -> list[Path]:
    """Where a cache may lie, in the order of preference."""
    found = [folder / ".normexp"]
    with contextlib.suppress(OSError, RuntimeError):  # a user without a home
        home = Path(os.environ.get("XDG_CACHE_HOME", ""))
        home = home if home.is_absolute() else Path.home() / ".cache"
        key = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
        found.append(home / "normexp" / "data" / key)
    return found


def may_write(place: Path) -> None:
    """PermissionError where a folder has no permission to write: root would write there all the same."""
    nearest = next(path for path in (place, *place.absolute().parents) if path.exists())
    if not nearest.stat().st_mode & 0o222 or not os.access(nearest, os.W_OK):
        raise PermissionError(nearest)


def trust(place: Path, source: Path, *, files: Iterable[str] = ()) -> None:
    """Raise PermissionError if the folder or one of these files in it may be the work of someone who could not have written the
    sources: another user owns it, or everyone may write to it. Also for links, and FileNotFoundError for what is missing."""
    owners = (os.geteuid(), 0, source.stat().st_uid)
    for path, is_kind in ((place, stat.S_ISDIR), *((place / name, stat.S_ISREG) for name in files)):
        of = path.lstat()
        if not is_kind(of.st_mode) or of.st_mode & stat.S_IWOTH or of.st_uid not in owners:
            raise PermissionError(path)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[bool]:
    """Wait for the lock on a folder, which the system frees when its holder is gone; the block gets whether it was had. The
    lock is on the sources' folder, so that nothing is written for it."""
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            alone = _lock(descriptor)
        except OSError:  # among others, a file system without locks
            alone = False
        yield alone


def _lock(descriptor: int) -> bool:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01)
        else:
            return True
    return False
