"""A lock on a directory that ends with the process that holds it, however that ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from normexp.config import show
from normexp.rundir import process
from normexp.rundir.atomic import writing

NAME = ".lock"

UNABLE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What flock says on a file system that has no locks."""


@contextlib.contextmanager
def held(directory: Path, **more: Any) -> Iterator[bool]:
    """Hold the directory's lock within the block, which gets whether it was free: another process, or another block of this
    one, may hold it.

    The lock belongs to the open file, so that the system frees it when the process is gone. The file stays: taking it away would
    let two processes lock two files of the same name. What is in it tells who holds it, with `more`; on a file system without
    locks, that must do. It is emptied at the end: this process may live on and do other things. Raises WriteError.
    """
    with writing(directory / NAME):
        descriptor = os.open(directory / NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with writing(directory / NAME):
            locks = _lock(descriptor)
            free = not process.alive(holder(directory) or {}) if locks is None else locks
            if free:
                content = json.dumps({**process.identity(), **more}).encode()
                os.pwrite(descriptor, content, 0)
                os.ftruncate(descriptor, len(content))
        try:
            yield free
        finally:
            if free:
                with writing(directory / NAME):
                    os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def waiting(directory: Path) -> Iterator[None]:
    """Hold another lock on the directory, for a short change to a file in it. Waits while a block or process holds it.

    It leaves no file. On a file system without locks, the block runs unprotected. Raises WriteError.
    """
    with writing(directory):
        descriptor = os.open(directory, os.O_RDONLY)
    try:
        with writing(directory):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in UNABLE:
                    raise
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Whether the file could be locked; None where its file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNABLE:
            raise
        return None
    return True


def refusal(directory: Path) -> str:
    """A sentence on who holds the directory's lock."""
    who = holder(directory) or {}
    one = f"process {show(who.get('pid'))} on {show(who.get('host'))}" if who else "another process"
    return f"{directory} is at work: {one} trains there."


def holder(directory: Path) -> Mapping[str, Any] | None:
    """What the process that holds the directory's lock wrote; None where none does, as far as can be seen from this host."""
    try:
        who = json.loads((directory / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return who if isinstance(who, dict) and process.alive(who) is not False else None
