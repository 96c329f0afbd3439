"""Locks on directories, which the system releases when their process ends, however that happens."""

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
from normexp.rundir.atomic import opened, writing

NAME = ".lock"

MAX_BYTES = 10_000
"""Of a lock file, which has one short JSON object."""


@contextlib.contextmanager
def held(directory: Path, **info: Any) -> Iterator[bool]:
    """Hold the directory's lock within the block. Yields whether it was free: another process, or another block in this
    one, may hold it. The lock belongs to the open file, so the system releases it when the process is gone. The lock file
    is never deleted, since two processes could then lock two files of the same name; it is emptied at the end, because this
    process may live on. Its content, with `info`, identifies the holder; on a file system without locks, that has to do.
    Raises WriteError."""
    path = directory / NAME
    with opened(path, os.O_RDWR | os.O_CREAT) as descriptor:
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
    """Whether a process holds the lock, as far as this host can tell. Leaves the lock file, and what it may link to, as it is."""
    try:
        descriptor = os.open(directory / NAME, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # no file, a link, or not ours to write
        return False
    try:
        return _lock(descriptor, timeout=0) is False or holder(directory) is not None
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def waiting(directory: Path, *, timeout: float = math.inf) -> Iterator[bool]:
    """Wait for a second lock on the directory, which leaves no file: for a short change to a file in it, say. Yields whether it
    is held: not after `timeout` seconds, nor on a file system without locks. Raises WriteError."""
    with opened(directory, os.O_RDONLY) as descriptor:
        with writing(directory):
            locked = bool(_lock(descriptor, timeout=timeout))
        yield locked


def _lock(descriptor: int, *, timeout: float) -> bool | None:
    """Whether the file could be locked within `timeout` seconds; None if its file system has no locks."""
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
    """A sentence that names the holder of the directory's lock."""
    who = holder(directory) or {}
    name = f"process {show(who.get('pid'))} on {show(who.get('host'))}" if who else "another process"
    return f"{directory} is in use by {name}."


def holder(directory: Path) -> Mapping[str, Any] | None:
    """The lock file's content, by the process that holds the lock. None if there is none, as far as this host can tell."""
    try:
        who = json.loads(safe_read.read(directory / NAME, max_bytes=MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return who if isinstance(who, dict) and process.alive(who) is not False else None
