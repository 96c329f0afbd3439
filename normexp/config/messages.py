"""Errors that a user can fix, and helpers for their messages."""

from collections.abc import Iterable
from typing import Any


class ConfigError(ValueError):
    """An error that the user can fix: a sentence on what is wrong and what would work."""


class InvalidValueError(ConfigError):
    """A value of a wrong type or out of range, whatever the rest of the config is."""


class ForbiddenKeyError(ConfigError):
    """A key that no config may set."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is meant by a typo. None if none is close: a wrong guess is worse than none."""
    import difflib  # late, to keep --help fast

    known = list(known)
    plain = {name.lstrip("-"): name for name in known}  # dashes would make all flags alike
    word = word.lower().lstrip("-")
    swapped = (name for name in plain if sorted(name) == sorted(word))
    close = difflib.get_close_matches(word, plain, n=1, cutoff=0.7) or list(swapped)
    return plain[close[0]] if close else None


def suggest(word: str, known: Iterable[str]) -> str:
    """' Did you mean ...?' with the closest known word. Empty if none is close."""
    known = list(known)
    if word.lower() == "gpu" and "cuda" in known:
        return " Did you mean cuda?"
    close = nearest(word, known)
    return f" Did you mean {close}?" if close else ""


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
    group, _, last = key.rpartition(".")
    siblings = [name for name in known if name.rpartition(".")[0] == group]
    if close := nearest(last, [name.rpartition(".")[2] for name in siblings]):
        return f"Unknown key {show(key)}. Did you mean {f'{group}.{close}' if group else close}?"
    return f"Unknown key {show(key)}." + (f" The keys are {', '.join(siblings)}." if siblings else "")


def unknown_choice(group: str, name: str, known: Iterable[str]) -> str:
    """Message for an unknown choice of a group, with the closest known one."""
    known = list(known)
    return f"{group}={show(name)}: {group} is one of {', '.join(known)}.{suggest(name, known)}"
