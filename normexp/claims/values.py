"""Values of a claim's file, of the kind that they should be. All raise ConfigError, naming the key, where one is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from normexp.claims.schema import Value
from normexp.config import ConfigError, nearest, show
from normexp.rundir import safe_read


def known(tree: Mapping[str, Any], keys: Iterable[str], prefix: str = "") -> None:
    """Every key of it must be one of these."""
    keys = list(keys)
    for key in tree:
        if key not in keys:
            raise ConfigError(
                f"There is no key {show(prefix + key)}.{nearest(key, keys) or ' The keys are ' + ', '.join(keys) + '.'}"
            )


def present(tree: Mapping[str, Any], key: str) -> Any:
    if key not in tree:
        raise ConfigError(f"{key} is missing.")
    return tree[key]


def only(tree: Mapping[str, Any], key: str, what: str) -> tuple[str, Any]:
    """The one key and value of a mapping."""
    found = list(mapping(tree, key).items())
    if len(found) != 1:
        raise ConfigError(f"{key} takes {what}.")
    return found[0]


def plain(value: Any, key: str) -> Value:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(f"{key}: {show(value)} is not a plain value.")


def text(tree: Mapping[str, Any], key: str) -> str:
    value = present(tree, key)
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{key}={show(value)}: {key} must be a text.")
    return " ".join(safe_read.printable(line) for line in value.split("\n")).strip()


def number(tree: Mapping[str, Any], key: str) -> float:
    value = present(tree, key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        raise ConfigError(f"{key}={show(value)}: {key} must be a number.")
    return float(value)


def flag(tree: Mapping[str, Any], key: str) -> bool:
    value = tree[key]
    if not isinstance(value, bool):
        raise ConfigError(f"{key}={show(value)}: {key} must be true or false.")
    return value


def one_of(tree: Mapping[str, Any], key: str, known: Sequence[str]) -> Any:
    value = present(tree, key)
    if value not in known:
        raise ConfigError(f"{key}={show(value)}: {key} is one of {', '.join(known)}.{nearest(str(value), known)}")
    return value


def sequence(tree: Mapping[str, Any], key: str) -> list[Any]:
    value = present(tree, key)
    if not isinstance(value, list):
        raise ConfigError(f"{key}={show(value)}: {key} must be a list.")
    return value


def mapping(tree: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = tree.get(key, {})
    if not isinstance(value, dict):
        raise ConfigError(f"{key}={show(value)}: {key} must be keys and values.")
    return {str(name): each for name, each in value.items()}


def overrides(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) and "=" in text for text in value):
        raise ConfigError(f"{where}={show(value)}: it must be a list of overrides, such as [norm=bn, lr=0.1].")
    return tuple(value)
