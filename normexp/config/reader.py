"""Convert plain mappings, as composed from yaml files and overrides, to typed configs."""

import dataclasses
import math
import sys
import types
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from normexp.config.installed import names as installed_names
from normexp.config.messages import ConfigError, InvalidValueError, show, suggest, unknown_choice, unknown_key
from normexp.config.schema import GROUPS, ActivationName, Config

Choices = Mapping[str, Mapping[str, type]]
"""The config class of each choice, by group and name."""


def read(tree: Mapping[str, Any], choices: Choices) -> Config:
    """Convert a plain mapping to a typed config. Raises ConfigError, with the key, for unknown and missing keys and for values
    of a wrong type or out of range."""
    return cast(Config, _read_fields(Config, tree, "", choices))


def expand_path(key: str, text: str) -> Path:
    """The folder that a key names, with `~` expanded. Raises ConfigError for an unknown user, and for names that the file system
    doesn't allow."""
    try:
        path = Path(text).expanduser()
        with suppress(PermissionError):
            path.exists()
    except OSError as error:
        raise ConfigError(f"{key}={show(text)}: {error.strerror}.") from error
    except RuntimeError as error:
        raise ConfigError(
            f"{key}={show(text)}: no home folder for this ~; write the absolute path if a name starts with ~."
        ) from error
    return path


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Flat keys as on the command line: {"norm": {"name": "bn", "eps": 1e-5}} becomes {"norm": "bn", "norm.eps": 1e-5}. Tuples
    become lists."""
    flat: dict[str, Any] = {}
    for group, value in tree.items():
        if isinstance(value, Mapping):
            flat |= {group: value["name"]} if "name" in value else {}
            flat |= {f"{group}.{key}": item for key, item in value.items() if key != "name"}
        else:
            flat[group] = value
    return {key: list(value) if isinstance(value, tuple) else value for key, value in flat.items()}


def as_tree(config: Config) -> dict[str, Any]:
    """The config as a plain mapping, as it is stored in config.yaml: without own_choices if there are none."""
    tree = dataclasses.asdict(config)
    if not config.own_choices:
        del tree["own_choices"]
    return tree


def own_names(own_choices: object) -> dict[str, str]:
    """{"norm": "slow_bn"} for the value ["norm=slow_bn"] of own_choices, which may come from a damaged file."""
    texts = own_choices if isinstance(own_choices, list | tuple) else ()
    pairs = (text.partition("=") for text in texts if isinstance(text, str))
    return {group: name for group, _, name in pairs if group in GROUPS and name}


def name_own_choices(flat: Mapping[str, Any]) -> dict[str, Any]:
    """A flat config with the names of the user's own choices: {"norm": "slow_bn"}, not {"norm": "bn"}, which it is based on."""
    names = own_names(flat.get("own_choices"))
    return {key: names.get(key, value) for key, value in flat.items() if key != "own_choices"}


def _read_fields(cls: type, tree: Mapping[str, Any], prefix: str, choices: Choices) -> Any:
    hints = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in tree:
        if key not in fields:
            raise ConfigError(unknown_key(f"{prefix}{key}", [f"{prefix}{name}" for name in fields]))
    values = {}
    for name, field in fields.items():
        key = f"{prefix}{name}"
        if name not in tree and field.default is not dataclasses.MISSING:
            continue  # a key that did not exist yet when the config was stored
        if name not in tree:
            raise ConfigError(f"{key} is missing: set it with {key}=...")
        value = tree[name]
        if prefix or name not in GROUPS:
            values[name] = convert(value, hints[name], key, field.metadata)
            continue
        choice = value.get("name") if isinstance(value, Mapping) else None
        if not isinstance(choice, str):
            known = f"{key} is one of {', '.join(choices[key])}."
            if isinstance(value, Mapping) and "name" not in value:
                raise InvalidValueError(f"{key}: begin your own file with 'defaults: [CHOICE]', where {known}")
            raise InvalidValueError(f"{key}={show(value)}: {known}")
        if choice not in choices[key]:
            raise InvalidValueError(unknown_choice(key, choice, choices[key]))
        values[name] = _read_fields(choices[key][choice], value, f"{key}.", choices)
    return cls(**values)


NULL = "null"
"""None in yaml and on the command line."""

INT_LIMIT = 2**63
"""Integers must be below it, to fit into torch's and NumPy's int64."""


def convert(value: Any, hint: Any, key: str, bounds: Mapping[str, float]) -> Any:
    """Convert a value to the type `hint`. Raises InvalidValueError if it has another type or is out of bounds."""
    words, inner = _without_words(hint)
    if (value is None and NULL in words) or (isinstance(value, str) and value in words and value != NULL):
        return value
    try:
        return _parse(value, inner, bounds)
    except ValueError as error:
        items = value if isinstance(value, list | tuple) else [value]
        too_large = any(isinstance(item, int | float) and item >= INT_LIMIT for item in items)
        if too_large and int in (inner, *get_args(inner)):
            bounds = {**bounds, "below": INT_LIMIT}
        is_literal = get_origin(inner) is Literal
        problem = f"{key} {'is' if is_literal else 'must be'} {describe_values(hint, bounds)}."
        if is_literal:
            problem += suggest(str(value), [*literal_values(inner), *words])
        is_list = isinstance(value, list) and value and all(isinstance(item, str | int | float) for item in value)
        if is_list and get_origin(inner) is not tuple:
            problem += f" For a sweep: -m {key}={','.join(map(show, value))}"
        raise InvalidValueError(f"{key}={show(value)}: {problem}") from error


def literal_values(hint: Any) -> tuple[str, ...]:
    """The values of a Literal. Those of `activation` include registered ones and those of other packages."""
    others = dict.fromkeys([*_registered_activations, *installed_names("activation")])
    return (*get_args(hint), *others) if hint == ActivationName else get_args(hint)


_registered_activations: list[str] = []


def register_activation(name: str) -> None:
    """Add a value of `activation`."""
    if name not in _registered_activations:
        _registered_activations.append(name)


def _without_words(hint: Any) -> tuple[list[str], Any]:
    """Split the type of a value into its words, such as auto and null, and the type of all other values."""
    if get_origin(hint) not in (types.UnionType, Union):
        return [], hint
    *literals, inner = (arg for arg in get_args(hint) if arg is not types.NoneType)
    words = [word for literal in literals for word in get_args(literal)]
    return [*words, *[NULL] * (types.NoneType in get_args(hint))], inner


def _parse(value: Any, hint: Any, bounds: Mapping[str, float]) -> Any:
    """The value as the type `hint`. Raises ValueError without a message."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if get_origin(hint) is tuple and isinstance(value, list | tuple):
        return tuple(_parse(item, get_args(hint)[0], bounds) for item in value)
    if get_origin(hint) is Literal and isinstance(value, str) and value in literal_values(hint):
        return value
    if hint is bool and isinstance(value, bool):
        return value
    if hint is str and (isinstance(value, str) or is_number):
        return str(value)
    if hint in (int, float) and is_number and abs(value) <= sys.float_info.max:  # excludes nan, inf and huge integers
        number = hint(value)
        valid = hint is float or (number == value and abs(number) < INT_LIMIT)
        if bounds:
            valid &= bounds["above"] < number < bounds["below"] and bounds["minimum"] <= number <= bounds["maximum"]
        if valid:
            return number
    raise ValueError


_NOUNS = {bool: "true or false", str: "a string", int: "an integer", float: "a number"}
_EXAMPLES = {str: "[a,b]", int: "[8,16]", float: "[0.1,0.2]"}


def describe_values(hint: Any, bounds: Mapping[str, float]) -> str:
    """Description of the values that this type and these bounds allow: 'a number > 0 or null'."""
    words, hint = _without_words(hint)
    if get_origin(hint) is Literal:
        return f"one of {', '.join([*literal_values(hint), *words])}"
    signs = {"above": ">", "minimum": ">=", "below": "<", "maximum": "<="}
    bounded = [f"{signs[k]} {'2^63' if v == INT_LIMIT else show(v)}" for k, v in bounds.items() if math.isfinite(v)]
    limits = [" and ".join(bounded)] if bounded else []
    nullable = NULL in words
    others = "".join(f"{word}, " if nullable else f"{word} or " for word in words if word != NULL)
    if get_origin(hint) is not tuple:
        return others + " ".join([_NOUNS[hint], *limits]) + " or null" * nullable
    (item, _) = get_args(hint)
    if get_origin(item) is Literal:
        return f"a list of any of {', '.join(get_args(item))}, such as [{get_args(item)[0]}]"
    items = " ".join([f"{_NOUNS[item].split()[-1]}s", *limits])
    return f"{others}a list of {items}, such as {_EXAMPLES[item]}" + ", or null" * nullable
