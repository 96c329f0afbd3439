"""Read untrusted files without hanging or running out of memory."""

import errno
import os
import stat
from pathlib import Path


def read(path: Path, *, max_bytes: int) -> bytearray:
    """Read a regular file. Raises OSError if it is larger than `max_bytes` or not readable, and for pipes and devices, which may
    never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        info = os.fstat(descriptor)
        if stat.S_ISDIR(info.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(info.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        size = info.st_size
        if size > max_bytes:
            raise OSError(errno.EFBIG, f"too large: {size:,} bytes, at most {max_bytes:,} expected", str(path))
        content = bytearray(size)
        with open(descriptor, "rb", closefd=False) as file:
            del content[file.readinto(content) :]  # the file may have been truncated in the meantime
        return content
    finally:
        os.close(descriptor)
