"""Read the values of a claim's file, with a sentence for those of another type."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from normexp.claims.schema import Value
from normexp.config import ConfigError, printable, show, unknown_key
from normexp.config.reader import convert


class Fields:
    """A mapping with known keys, given as the words of a string. prefix: of the keys in messages."""

    def __init__(self, tree: Any, keys: str, prefix: str = "") -> None:
        if not isinstance(tree, Mapping):
            raise ConfigError(f"{prefix.removesuffix('.') or show(tree)} must be a mapping of keys to values.")
        names = [prefix + key for key in keys.split()]
        self.tree = {str(key): value for key, value in tree.items()}
        for key in self.tree:
            if prefix + key not in names:
                raise ConfigError(unknown_key(prefix + key, names))

    def get(self, key: str, read: Callable[[Any, str], Any], default: Any = ...) -> Any:
        """read(value, key), or the default if the key is missing. Raises ConfigError if it has no default either."""
        if key not in self.tree and default is ...:
            raise ConfigError(f"{key} is missing.")
        return read(self.tree[key], key) if key in self.tree else default

    def typed(self, key: str, hint: Any, default: Any = ...) -> Any:
        """The value of a key as a float, bool or Literal."""
        return self.get(key, lambda value, key: convert(value, hint, key, {}), default)


def text(value: Any, key: str) -> str:
    """A string as one line."""
    return " ".join(paragraphs(value, key).split("\n\n"))


def paragraphs(value: Any, key: str) -> str:
    """A string whose paragraphs, between blank lines, are a line each."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{key}={show(value)}: {key} must be a string.")
    parts = re.split(r"\n\s*\n", value.strip())
    return "\n\n".join(" ".join(printable(line) for line in part.split("\n")).strip() for part in parts)


def seed_list(value: Any, key: str) -> tuple[int, ...]:
    """[1, 2, 3] or "501-520"."""
    if isinstance(value, str) and (ends := re.fullmatch(r"(\d{1,18})-(\d{1,18})", value)):
        first, last = map(int, ends.groups())
        value = list(range(first, last + 1)) if last < first + 10_000 else []
    seeds = sequence(value, key)
    if not seeds or not all(type(seed) is int and 0 <= seed < 2**63 for seed in seeds) or len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds={show(seeds)}: seeds must be distinct integers >= 0, such as [1,2,3] or 501-520.")
    return tuple(seeds)


def scalar(value: Any, key: str) -> Value:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(f"{key}: {show(value)} must be a number, string, boolean or null.")


def sequence(value: Any, key: str) -> list[Any]:
    if not isinstance(value, list):
        raise ConfigError(f"{key}={show(value)}: {key} must be a list.")
    return value


def mapping(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{key}={show(value)}: {key} must be a mapping of keys to values.")
    return {str(name): item for name, item in value.items()}


def single_item(value: Any, key: str, what: str) -> tuple[str, Any]:
    """The only key of a mapping and its value. what: a description of both, for the message."""
    items = list(mapping(value, key).items())
    if len(items) != 1:
        raise ConfigError(f"{key} takes {what}.")
    return items[0]


def overrides(value: Any, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) and "=" in text for text in value):
        raise ConfigError(f"{key}={show(value)}: {key} must be a list of overrides, such as [norm=bn, lr=0.1].")
    return tuple(value)
