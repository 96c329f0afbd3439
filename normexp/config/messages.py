"""Errors that a user can fix, and helpers for their messages."""

from collections.abc import Iterable
from typing import Any


class ConfigError(ValueError):
    """An error that the user can fix: a sentence on what is wrong and what would work."""


class InvalidValueError(ConfigError):
    """A value of a wrong type or out of range, whatever the rest of the config is."""


class ForbiddenKeyError(ConfigError):
    """A key that no config may set."""


def suggest(word: str, known: Iterable[str]) -> str:
    """' Did you mean ...?' with the closest known word. Empty if none is close."""
    import difflib  # late, to keep --help fast

    if word.lower() == "gpu" and "cuda" in (known := list(known)):
        return " Did you mean cuda?"
    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]}?" if close else ""


def show(value: Any, max_length: int = 60) -> str:
    """A value as in a yaml file or an override: printable, and shortened to `max_length` characters."""
    match value:
        case None:
            text = "null"
        case bool():
            text = str(value).lower()
        case list() | tuple():
            text = "[" + ",".join(show(item) for item in value) + "]"
        case _:
            text = str(value)
    text = printable(text)
    return text if len(text) <= max_length else text[: max_length - 3] + "..."


def printable(text: object) -> str:
    """The string with `?` in place of line breaks, escape sequences and other unprintable characters."""
    text = str(text)
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def join_names(names: Iterable[str]) -> str:
    """'a, b, c', shortened if it would not fit into a sentence."""
    return show(", ".join(names), max_length=200)


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Message for an unknown key: suggests the closest key of its group, or lists all of them."""
    import difflib

    group, _, last = key.rpartition(".")
    siblings = [name for name in known if name.rpartition(".")[0] == group]
    close = difflib.get_close_matches(last.lower(), [name.rpartition(".")[2] for name in siblings], n=1, cutoff=0.6)
    if close:
        return f"There is no key {show(key)}. Did you mean {f'{group}.{close[0]}' if group else close[0]}?"
    return f"There is no key {show(key)}." + (f" The keys are {', '.join(siblings)}." if siblings else "")


def unknown_choice(group: str, name: str, known: Iterable[str]) -> str:
    """Message for an unknown choice of a group, with the closest known one."""
    known = list(known)
    return f"{group}={show(name)}: {group} is one of {', '.join(known)}.{suggest(name, known)}"
