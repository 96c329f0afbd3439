"""What somebody else may have written, read without waiting for ever or filling the memory, and shown without commanding
the terminal."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read(path: Path, *, most: int) -> bytearray:
    """The content of a file. Raises OSError for one that can't be read, that is longer than `most` bytes, and for what is no
    file: a pipe may never be written to, and a device never ends."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        of = os.fstat(descriptor)
        if stat.S_ISDIR(of.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(of.st_mode):
            raise OSError(errno.EINVAL, "it is no file", str(path))
        if of.st_size > most:
            raise OSError(errno.EFBIG, f"it has {of.st_size:,} bytes, and should have {most:,} at most", str(path))
        content = bytearray(of.st_size)
        with open(descriptor, "rb", closefd=False) as file:
            del content[file.readinto(content) :]  # it may have been cut since
        return content
    finally:
        os.close(descriptor)


def printable(text: object) -> str:
    """A text with `?` for line breaks, escape sequences and all else that has no shape of its own."""
    text = str(text)
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
