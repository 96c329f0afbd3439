"""Reading the files of data sets: whatever is wrong with one is a sentence that names it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normexp.config import ConfigError
from normexp.rundir import safe_read

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Reader:
    """Reads files of at most so many bytes, and keeps in `checksums` the CRC-32C of what it read; ConfigError where one can't be
    read, or is gone by now."""

    def __init__(self) -> None:
        self.checksums: dict[Path, int] = {}

    def __call__(self, path: Path, *, most: int) -> bytearray:
        try:
            content = safe_read.read(path, most=most)
        except OSError as error:
            raise ConfigError(f"{path} can't be read ({error.strerror}).") from error
        self.checksums[path] = checksum(content)
        return content


def is_published(content: bytearray, md5: str) -> bool:
    """Whether a file's content has this checksum."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest() == md5


def checksum(content: bytearray | NDArray[Any], before: int = 0) -> int:
    """The CRC-32C of a file's content, or of an array's values; `before` is that of what stands before it."""
    import google_crc32c
    import numpy as np

    values = np.ascontiguousarray(content) if isinstance(content, np.ndarray) else np.frombuffer(content, np.uint8)
    crc: int = google_crc32c.extend(before, values)
    return crc


def checksum_of_file(path: Path, *, most: int) -> int:
    """The same of a file. Raises OSError as untrusted.read does."""
    return checksum(safe_read.read(path, most=most))
