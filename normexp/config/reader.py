"""Plain mappings, as composed from yaml files and overrides, to typed configs."""

import dataclasses
import math
import sys
import types
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from normexp.config.messages import ConfigError, InvalidValueError, nearest, show, unknown_choice, unknown_key
from normexp.config.schema import GROUPS, Config

Choices = Mapping[str, Mapping[str, type]]
"""For each group, the dataclass of each of its choices."""


def read(tree: Mapping[str, Any], choices: Choices) -> Config:
    """The typed config that a plain mapping (as composed from yaml files and overrides) describes.

    Raises ConfigError, naming the key, for keys that do not exist or are missing, and for values of a wrong type or out of range.
    """
    config = _read_fields(Config, tree, prefix="", choices=choices)
    assert isinstance(config, Config)
    return config


def expanded(key: str, text: str) -> Path:
    """A folder that a key names, with `~` as the user's own. ConfigError for that of a user whom there isn't, and for a name
    that no folder can have."""
    try:
        path = Path(text).expanduser()
        with suppress(PermissionError):
            path.exists()
        return path
    except OSError as error:
        raise ConfigError(f"{key}={show(text)}: {error.strerror}.") from error
    except RuntimeError as error:
        raise ConfigError(
            f"{key}={show(text)}: there is no home folder for that ~; write ./~ for a folder of that name."
        ) from error


def _read_fields(cls: type, tree: Mapping[str, Any], *, prefix: str, choices: Choices) -> Any:
    hints = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in tree:
        if key not in fields:
            raise ConfigError(unknown_key(f"{prefix}{key}", [f"{prefix}{name}" for name in fields]))
    values = {}
    for name, field in fields.items():
        key = f"{prefix}{name}"
        if name not in tree:
            raise ConfigError(f"{key} is missing: give it a value with {key}=...")
        if not prefix and name in GROUPS:
            values[name] = _read_group(name, tree[name], choices)
        else:
            values[name] = _convert(tree[name], hints[name], key, field.metadata)
    return cls(**values)


def _read_group(group: str, tree: Any, choices: Choices) -> Any:
    if not isinstance(tree, Mapping) or not isinstance(tree.get("name"), str):
        raise InvalidValueError(f"{group}={show(tree)}: {group} is one of {', '.join(choices[group])}.")
    name = tree["name"]
    if name not in choices[group]:
        raise InvalidValueError(unknown_choice(group, name, choices[group]))
    return _read_fields(choices[group][name], tree, prefix=f"{group}.", choices=choices)


def _convert(value: Any, hint: Any, key: str, bounds: Mapping[str, float]) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    result: Any = _WRONG
    if origin in (types.UnionType, Union):
        if value is None:
            return None
        (hint,) = (arg for arg in args if arg is not types.NoneType)
        return _convert(value, hint, key, {**bounds, "null": 1})
    if origin is tuple:
        if isinstance(value, list | tuple):
            try:
                return tuple(_convert(item, args[0], key, bounds) for item in value)
            except ConfigError:
                pass  # the sentence below shows the whole list
    elif origin is Literal:
        if value in args and isinstance(value, str):
            return value
        known = [*args, "null"] if "null" in bounds else args
        raise InvalidValueError(f"{key}={show(value)}: {key} is one of {', '.join(known)}.{nearest(str(value), known)}")
    elif hint is bool:
        result = value if isinstance(value, bool) else _WRONG
    elif hint is str:
        result = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else _WRONG
    elif isinstance(value, int | float) and not isinstance(value, bool) and _finite(value):
        if hint is float:
            result = float(value)
        elif hint is int and value == int(value) and abs(value) < LARGEST:
            result = int(value)
        if result is not _WRONG and bounds and not _inside(result, bounds):
            result = _WRONG
    if result is _WRONG:
        items = value if isinstance(value, list | tuple) else [value]
        if int in (hint, *args) and any(isinstance(item, int | float) and item >= LARGEST for item in items):
            bounds = {**bounds, "below": LARGEST}
        raise InvalidValueError(f"{key}={show(value)}: {key} must be {_describe(hint, bounds)}.")
    return result


_WRONG = object()

LARGEST = 2**63
"""Integers are below it, as torch's and NumPy's are."""


def _finite(value: float) -> bool:
    """Whether it is a number that a float can be, which not every whole one is."""
    return abs(value) <= sys.float_info.max


def _inside(value: float, bounds: Mapping[str, float]) -> bool:
    return bounds["above"] < value < bounds["below"] and bounds["least"] <= value <= bounds["most"]


def _describe(hint: Any, bounds: Mapping[str, float]) -> str:
    """What a value of this type and range is, in words."""
    if get_origin(hint) is tuple:
        (item, _) = get_args(hint)
        if get_origin(item) is Literal:
            return f"a list of any of {', '.join(get_args(item))}, such as [{get_args(item)[0]}]"
        inner = {k: v for k, v in bounds.items() if k != "null"}
        return f"a list in brackets, each of it {_describe(item, inner)}" + (", or null" if "null" in bounds else "")
    nouns = {bool: "true or false", str: "a text", int: "a whole number", float: "a number"}
    words = {"above": "above", "least": "of at least", "below": "below", "most": "of at most"}
    limits = [
        f"{words[k]} {'2^63' if v == LARGEST else show(v)}"
        for k, v in bounds.items()
        if k in words and math.isfinite(v)
    ]
    text = " ".join([nouns[hint], " and ".join(limits)]).strip()
    return text + (" or null" if "null" in bounds else "")
