"""Parse the command lines of commands that have flags of their own."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
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
        if unknown:
            flag = unknown[0].partition("=")[0]
            raise ConfigError(
                f"There is no flag {show(flag)}.{suggest(flag, self.flags)} {self.prog} --help lists them."
            )
        return options

    def error(self, message: str) -> NoReturn:
        """Called by argparse for a flag with a wrong value, without one, or with one that it doesn't take."""
        flag = message.removeprefix("argument ").partition(":")[0]
        action = self._option_string_actions.get(flag)
        if action is not None and action.choices and "invalid choice" in message:
            raise ConfigError(f"{flag} is one of {', '.join(action.choices)}.")
        if "ignored explicit argument" in message:
            raise ConfigError(f"{flag} takes no value.")
        raise ConfigError(f"{flag} must be followed by a value; {self.prog} --help says which.")
