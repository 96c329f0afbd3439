"""Atomic writes: a kill or a full disk leaves the old content or the new one. Errors name the file."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

UNWRITABLE_ERRNOS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO)
"""Errors of the device or of its permissions; others mean that the path itself can't be a run directory."""


class WriteError(OSError):
    """A file that could not be written. str() is a sentence with `filename` and `strerror`."""

    def __str__(self) -> str:
        return f"{self.filename} could not be written ({self.strerror})."


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Convert an OSError in the block to a WriteError that names the file."""
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
    """`write_text` for bytes."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file to write, which replaces `path` at the end of the block. It is removed on an error or a signal;
    after a kill, `remove_temporaries` does that."""
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
    """Remove the temporary files that killed processes left."""
    for path in directory.glob(".*.tmp"):
        with writing(path):
            path.unlink(missing_ok=True)


def write_over(path: Path, content: bytes) -> None:
    """Overwrite a small file in place, which needs no space on a full disk. Pads the content with spaces to the old size."""
    with writing(path), path.open("r+b", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if len(content) > size:
            os.posix_fallocate(file.fileno(), 0, len(content))  # fails before anything is overwritten
        file.write(content.ljust(size))


class DirectoryGuard:
    """Detects that a directory was removed or replaced while a process writes files in it by path."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with writing(directory):
            self._stat = directory.stat()

    def exists(self) -> bool:
        """Whether the path still leads to the same directory."""
        return self._directory.exists() and os.path.samestat(self._stat, self._directory.stat())

    def check(self) -> None:
        """Raise WriteError if the directory is gone, or if another one has its name now, which must not get this one's files."""
        if not self.exists():
            raise WriteError(errno.ESTALE, "it was deleted or replaced", str(self._directory))


@contextlib.contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """Yield a descriptor of a file or directory. Raises WriteError if it can't be opened."""
    with writing(path):
        descriptor = os.open(path, flags, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def fsync(path: Path) -> None:
    """Flush a file's content, or a directory's entries, to the disk, so that they survive a power cut."""
    with writing(path), opened(path, os.O_RDONLY) as descriptor:
        os.fsync(descriptor)
