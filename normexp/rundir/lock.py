"""Locks on directories. The system releases them when the process ends, even if it is killed."""

import contextlib
import errno
import fcntl
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from normexp.config import show
from normexp.rundir import process, safe_read
from normexp.rundir.atomic import WriteError, opened, writing

NAME = ".lock"
MAX_BYTES = 10_000  # a lock file holds one short JSON object; a larger file is not one


@contextlib.contextmanager
def held(directory: Path, **info: Any) -> Iterator[bool]:
    """Hold the directory's lock during the block. Yields False if another process, or another block in this one, holds it.

    The lock file contains the identity of the holder, and `info`. On file systems without locks, this content is the lock. The
    file is emptied at the end but never deleted: two processes could then hold locks on different files of that name. Raises
    WriteError.
    """
    path = directory / NAME
    if path.is_symlink():
        raise WriteError(errno.ELOOP, "it is a symbolic link", str(path))
    with opened(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW) as descriptor:
        with writing(path):
            locked = _lock(descriptor, timeout=0)
            free = not process.alive(holder(directory) or {}) if locked is None else locked
            if free:
                content = json.dumps({**process.identity(), **info}).encode()
                os.pwrite(descriptor, content, 0)
                os.ftruncate(descriptor, len(content))
        try:
            yield free
        finally:
            if free:
                with writing(path):
                    os.ftruncate(descriptor, 0)


def in_use(directory: Path) -> bool:
    """Whether a process seems to hold the lock; a holder on another host counts as alive. Never writes, nor follows a symlink."""
    try:
        descriptor = os.open(directory / NAME, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # missing, a symlink, or not writable
        return False
    try:
        return _lock(descriptor, timeout=0) is False or holder(directory) is not None
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def waiting(directory: Path, *, timeout: float = math.inf) -> Iterator[bool]:
    """Wait for a lock on the directory itself, for short changes to its files; independent of `held`. Yields False after
    `timeout` seconds, or if the file system has no locks. Raises WriteError."""
    with opened(directory, os.O_RDONLY) as descriptor:
        with writing(directory):
            locked = bool(_lock(descriptor, timeout=timeout))
        yield locked


def _lock(descriptor: int, *, timeout: float) -> bool | None:
    """Try to lock the file for `timeout` seconds; returns whether that succeeded, or None if its file system has no locks."""
    end = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.01)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            return None
        else:
            return True


def refusal(directory: Path) -> str:
    """Error message that names the holder of the directory's lock."""
    return in_use_by(holder(directory) or {}, directory / NAME)


def in_use_by(who: Mapping[str, Any], file: Path) -> str:
    """Error message that names the process that uses a directory, and how to free it if that process may be dead. file: the file
    in the directory that identifies the process."""
    name = f"process {show(who.get('pid'))} on {show(who.get('host'))}" if who else "another process"
    may_be_dead = bool(who) and process.alive(who) is None  # on another host
    hint = f" This can't be checked from here: if that process has ended, delete {file} and try again." * may_be_dead
    return f"{file.parent} is in use by {name}.{hint}"


def holder(directory: Path) -> Mapping[str, Any] | None:
    """Content of the lock file. None if the process that wrote it is no longer alive; on another host, it counts as alive."""
    try:
        who = json.loads(safe_read.read(directory / NAME, max_bytes=MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return who if isinstance(who, dict) and process.alive(who) is not False else None
