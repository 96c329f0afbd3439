"""Check the files that flags name before anything is computed, and report errors when they are written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from normexp.config import ConfigError, show


def check_output_file(flag: str, path: Path, *, example: str) -> None:
    """Raise ConfigError if a flag's file can't be created: it is a folder, or its folder is missing or not writable.

    example: a file name for the error message.
    """
    try:
        if path.is_dir():
            raise ConfigError(
                f"{flag} {show(path)}: that is a folder; name a file in it, such as {show(path / example)}."
            )
        _check_parent(flag, path)
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{flag} {show(path)}: no file can have that name.") from error


def check_output_dir(flag: str, path: Path) -> None:
    """Raise ConfigError if a flag's folder neither exists nor can be created."""
    if path.is_dir():
        return
    if path.exists():
        raise ConfigError(f"{flag} {show(path)}: that is a file; figures go into a folder.")
    _check_parent(flag, path)


def _check_parent(flag: str, path: Path) -> None:
    parent = path.absolute().parent
    if not parent.is_dir():
        raise ConfigError(f"{flag} {show(path)}: there is no folder {show(path.parent)}; make it first.")
    if not os.access(parent, os.W_OK):
        raise ConfigError(f"{flag} {show(path)}: the folder {show(parent)} can't be written to; name another one.")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise ConfigError if the block can't write to the path."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{show(path)} can't be written ({error.strerror or error}).") from error
