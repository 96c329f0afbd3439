"""Errors that a user can fix, and the pieces of the sentences that they consist of."""

from collections.abc import Iterable
from typing import Any


class ConfigError(ValueError):
    """What a user can mend: one sentence that says what is wrong and what would work."""


class InvalidValueError(ConfigError):
    """A value that its key can never have, whatever the rest of the config is: of a wrong type, or out of range."""


class ForbiddenKeyError(ConfigError):
    """A key that no config may set."""


def nearest(word: str, known: Iterable[str]) -> str:
    """' Did you mean ...?' with the closest of the known words, or nothing where none is close."""
    import difflib  # late, for a quick --help

    if word.lower() == "gpu" and "cuda" in (known := list(known)):
        return " Did you mean cuda?"
    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]}?" if close else ""


def show(value: Any, most: int = 60) -> str:
    """A value as it is written in a yaml file or an override, printable, and shortened where it is long."""
    match value:
        case None:
            text = "null"
        case bool():
            text = str(value).lower()
        case list() | tuple():
            text = "[" + ",".join(show(item) for item in value) + "]"
        case _:
            text = str(value)
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= most else text[: most - 3] + "..."


def listed(names: Iterable[str]) -> str:
    """'a, b, c': the first of them, where they would not fit into a sentence."""
    return show(", ".join(names), most=200)


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The sentence for a key that does not exist, with the nearest that does; without one near, all that stand beside it."""
    import difflib

    group, _, last = key.rpartition(".")
    beside = [name for name in known if name.rpartition(".")[0] == group]
    near = difflib.get_close_matches(last.lower(), [name.rpartition(".")[2] for name in beside], n=1, cutoff=0.6)
    if near:
        return f"There is no key {show(key)}. Did you mean {f'{group}.{near[0]}' if group else near[0]}?"
    return f"There is no key {show(key)}." + (f" The keys are {', '.join(beside)}." if beside else "")


def unknown_choice(group: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a choice that a group does not have, with the nearest that it has."""
    known = list(known)
    return f"{group}={show(name)}: {group} is one of {', '.join(known)}.{nearest(name, known)}"
