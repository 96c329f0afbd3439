"""Atomic writes: after a kill or on a full disk, a file has either its old or its new content. Errors name the file."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

UNWRITABLE_ERRNOS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO)
"""Errors of the disk or its permissions. Any other errno means that the path can't be a run directory."""


class WriteError(OSError):
    """A file could not be written. str() is a sentence with `filename` and `strerror`."""

    def __str__(self) -> str:
        return f"{self.filename} could not be written ({self.strerror})."


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Convert OSErrors in the block to a WriteError that names the file."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        reason = "its folder no longer exists" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
        raise WriteError(error.errno, reason, str(path)) from error


def write_text(path: Path, text: str) -> None:
    """Replace a file atomically. Raises WriteError."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file atomically. Raises WriteError."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; at the end of the block it replaces `path`. It is removed on errors and signals; after
    a kill, call `remove_temporaries`."""
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
    """Remove the temporary files left by killed processes."""
    for path in directory.glob(".*.tmp"):
        with writing(path):
            path.unlink(missing_ok=True)


def write_over(path: Path, content: bytes) -> None:
    """Overwrite a small file in place, padded with spaces to its old size. Works on a full disk."""
    with writing(path), path.open("r+b", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if len(content) > size:
            os.posix_fallocate(file.fileno(), 0, len(content))  # fails before anything is overwritten
        file.write(content.ljust(size))


class DirectoryGuard:
    """Detects that a directory was removed or replaced while this process writes to it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with writing(directory):
            self._stat = directory.stat()

    def exists(self) -> bool:
        """Whether the path still refers to the same directory."""
        return self._directory.exists() and os.path.samestat(self._stat, self._directory.stat())

    def check(self) -> None:
        """Raise WriteError if the directory is gone. Another one at its path must not receive its files."""
        if not self.exists():
            raise WriteError(errno.ESTALE, "it was deleted or replaced", str(self._directory))


@contextlib.contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """Open a file or directory; yields its descriptor. Raises WriteError on failure."""
    with writing(path):
        descriptor = os.open(path, flags, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def fsync(path: Path) -> None:
    """Flush a file's content or a directory's entries to disk, so they survive a power cut."""
    with writing(path), opened(path, os.O_RDONLY) as descriptor:
        os.fsync(descriptor)
