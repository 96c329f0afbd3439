"""Parse the flags of a command, and check the files that they name before anything is computed."""

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from normexp.config import ConfigError, show, suggest


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises ConfigError, in one sentence, and accepts flags and words in any order."""

    def __init__(self, command: str) -> None:
        super().__init__(prog=f"normexp {command}", add_help=False, allow_abbrev=False)

    @property
    def flags(self) -> list[str]:
        return [*self._option_string_actions, "--help"]

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """The options. Raises ConfigError for unknown flags and for values that a flag does not accept."""
        options, unknown = self.parse_known_intermixed_args(argv)
        if not unknown:
            return options
        flag = unknown[0].partition("=")[0]
        raise ConfigError(f"Unknown flag {show(flag)}.{suggest(flag, self.flags)} {self.prog} --help lists them.")

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError. argparse calls this for a wrong, a missing or an unexpected value."""
        flag = message.removeprefix("argument ").partition(":")[0]
        action = self._option_string_actions.get(flag)
        if action is not None and action.choices and "invalid choice" in message:
            raise ConfigError(f"{flag} is one of {', '.join(action.choices)}.")
        if "ignored explicit argument" in message:
            raise ConfigError(f"{flag} takes no value.")
        raise ConfigError(f"{flag} must be followed by a value; {self.prog} --help says which.")


def check_output_file(flag: str, path: Path, *, example: str) -> None:
    """Raise ConfigError if a flag's file can't be created. example: a file name for the error message."""
    try:
        is_folder = path.is_dir()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{flag} {show(path)}: not a valid file name.") from error
    if is_folder:
        raise ConfigError(f"{flag} {show(path)} is a folder; name a file in it, such as {show(path / example)}.")
    _check_parent(flag, path)


def check_output_dir(flag: str, path: Path) -> None:
    """Raise ConfigError if a flag's folder neither exists nor can be created."""
    if path.is_dir():
        return
    if path.exists():
        raise ConfigError(f"{flag} {show(path)} is a file; name a folder for the figures.")
    _check_parent(flag, path)


def _check_parent(flag: str, path: Path) -> None:
    parent = path.absolute().parent
    if not parent.is_dir():
        raise ConfigError(f"{flag} {show(path)}: the folder {show(path.parent)} does not exist.")
    if not os.access(parent, os.W_OK):
        raise ConfigError(f"{flag} {show(path)}: no permission to write to the folder {show(parent)}.")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise ConfigError if the block can't write to the path."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{show(path)} can't be written ({error.strerror or error}).") from error
