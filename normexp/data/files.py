"""Reading the files of data sets: whatever is wrong with one is a sentence that names it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from normexp import untrusted
from normexp.config import ConfigError


def read(path: Path, *, most: int) -> bytearray:
    """The content of a file of at most so many bytes; ConfigError where it can't be read, or is gone by now."""
    try:
        return untrusted.read(path, most=most)
    except OSError as error:
        raise ConfigError(f"{path} can't be read ({error.strerror}).") from error


def is_published(content: bytearray, md5: str) -> bool:
    """Whether a file's content has this checksum."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest() == md5
