"""Typed access to the values of a yaml mapping. Every function raises ConfigError, naming the key, for a wrong value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from normexp.claims.schema import Value
from normexp.config import ConfigError, show, unknown_key
from normexp.config.reader import convert
from normexp.rundir import safe_read

T = TypeVar("T")
D = TypeVar("D")

REQUIRED: Any = object()


class Fields:
    """A mapping with known keys. prefix: of the keys in messages."""

    def __init__(self, tree: Any, keys: Iterable[str], prefix: str = "") -> None:
        if not isinstance(tree, Mapping):
            raise ConfigError(f"{show(tree)} is not a list of keys and values.")
        names = [prefix + key for key in keys]
        self.tree = {str(key): value for key, value in tree.items()}
        for key in self.tree:
            if prefix + key not in names:
                raise ConfigError(unknown_key(prefix + key, names))

    def __contains__(self, key: str) -> bool:
        return key in self.tree

    def get(self, key: str, read: Callable[[Any, str], T], default: D = REQUIRED) -> T | D:
        """read(value, key), or the default if the key is missing."""
        if key in self.tree:
            return read(self.tree[key], key)
        if default is REQUIRED:
            raise ConfigError(f"{key} is missing.")
        return default

    def typed(self, key: str, hint: Any, default: Any = REQUIRED) -> Any:
        """The value of a key as a float, bool or Literal."""
        return self.get(key, lambda value, key: convert(value, hint, key, {}), default)


def text(value: Any, key: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{key}={show(value)}: {key} must be a text.")
    return " ".join(safe_read.printable(line) for line in value.split("\n")).strip()


def scalar(value: Any, key: str) -> Value:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(f"{key}: {show(value)} is not a plain value.")


def sequence(value: Any, key: str) -> list[Any]:
    if not isinstance(value, list):
        raise ConfigError(f"{key}={show(value)}: {key} must be a list.")
    return value


def mapping(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{key}={show(value)}: {key} must be keys and values.")
    return {str(name): item for name, item in value.items()}


def single_item(what: str) -> Callable[[Any, str], tuple[str, Any]]:
    """Reader of a mapping with a single key. what: the key and value, for the message."""

    def read(value: Any, key: str) -> tuple[str, Any]:
        items = list(mapping(value, key).items())
        if len(items) != 1:
            raise ConfigError(f"{key} takes {what}.")
        return items[0]

    return read


def overrides(value: Any, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) and "=" in text for text in value):
        raise ConfigError(f"{key}={show(value)}: it must be a list of overrides, such as [norm=bn, lr=0.1].")
    return tuple(value)
