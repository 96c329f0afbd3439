"""Writing files so that a kill or a full disk leaves the old content or the new, and says what could not be written."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

FAULTS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO)
"""What keeps a place from being written to that is otherwise fit for it."""


class WriteError(OSError):
    """A file, `filename`, that could not be written, and why: `strerror`. As a text it is a sentence."""

    def __str__(self) -> str:
        return f"{self.filename} could not be written ({self.strerror})."


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """A block that writes a file: an OSError in it becomes a WriteError that names the file."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        reason = "its folder is gone" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
        raise WriteError(error.errno, reason, str(path)) from error


def write_text(path: Path, text: str) -> None:
    """Replace a file as a whole: whoever reads it sees the old text or the new one, never a part. Raises WriteError."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """The same for what is not text."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file to write in the block, which takes the place of another at its end. An error or a signal takes it away
    again; what a kill leaves, `remove_temporaries` takes away."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        try:
            yield temporary
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def remove_temporaries(directory: Path) -> None:
    """Take away the files that killed processes did not come to the end of writing."""
    for path in directory.glob(".*.tmp"):
        with writing(path):
            path.unlink(missing_ok=True)


def write_over(path: Path, content: bytes) -> None:
    """Write a small file in its place, in one go, which takes no room on a full disk. It keeps its length, with spaces."""
    with writing(path):
        descriptor = os.open(path, os.O_WRONLY)
        try:
            size = os.fstat(descriptor).st_size
            if len(content) > size:
                os.posix_fallocate(descriptor, 0, len(content))  # all of it or an error, before anything is lost
            os.pwrite(descriptor, content.ljust(size), 0)
        finally:
            os.close(descriptor)


class Place:
    """A directory that is to stay where it is while a process writes files in it, by their paths."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with writing(directory):
            self._stat = directory.stat()

    def there(self) -> bool:
        return self._directory.exists() and os.path.samestat(self._stat, self._directory.stat())

    def check(self) -> None:
        """WriteError where the directory is gone, or another one has its name now, which must not get this one's files."""
        if not self.there():
            raise WriteError(errno.ESTALE, "it is gone, or another one has taken its place", str(self._directory))


def to_disk(path: Path) -> None:
    """Wait until a file's content, or the names in a directory, are on the disk, where a power cut can't take them."""
    with writing(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
