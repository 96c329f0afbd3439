"""The dataclass of every choice of every group, and the keys that follow from them."""

import dataclasses
import functools
import types
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Union, get_args, get_origin, get_type_hints

from normexp.config import GROUPS, RESULT_INDEPENDENT_KEYS, Config, ConfigError, own_names, show, yaml_files
from normexp.data import DATA
from normexp.models import MODELS
from normexp.models.init import INITS
from normexp.norms import NORMS
from normexp.optim.optimizers import OPTIMIZERS
from normexp.optim.schedules import SCHEDULES
from normexp.probes import switches
from normexp.records import Hyperparameter
from normexp.registry import Registry
from normexp.weights import WEIGHTS

REGISTRIES: dict[str, Registry[Any]] = {"model": MODELS, "norm": NORMS, "data": DATA}
"""Groups to which other packages can add choices."""


class ConfigClasses(Mapping[str, type]):
    """The config classes of a registry, by choice. That of another package is imported when it is first used."""

    def __init__(self, registry: Registry[Any]) -> None:
        self._registry = registry

    def __getitem__(self, choice: str) -> type:
        cls: type = self._registry[choice].config
        return cls

    def __contains__(self, choice: object) -> bool:
        return choice in self._registry

    def __iter__(self) -> Iterator[str]:
        return iter(self._registry)

    def __len__(self) -> int:
        return len(self._registry)


CHOICES: dict[str, Mapping[str, type]] = {
    **{group: ConfigClasses(registry) for group, registry in REGISTRIES.items()},
    "weight": {name: entry.config for name, entry in WEIGHTS.items()},
    "init": INITS,
    "optim": {name: cls for name, (cls, _) in OPTIMIZERS.items()},
    "schedule": {name: cls for name, (cls, _) in SCHEDULES.items()},
    "probe": dict.fromkeys(("default", "off", "full", "landscape"), switches()),
}


def refresh() -> None:
    """Know what was registered since."""
    CHOICES["probe"] = dict.fromkeys(CHOICES["probe"], switches())
    known_keys.cache_clear()


NOT_HYPERPARAMETERS = {"probe", "log_every", "eval_every", "eval_samples", *RESULT_INDEPENDENT_KEYS}
"""Keys that don't change what is trained: where it runs, on which device, how often it is logged."""


@functools.cache
def known_keys() -> dict[str, list[str]]:
    """All keys that an override can set, without the groups themselves. A key inside a group maps to the choices that have it."""
    keys: dict[str, list[str]] = {key: [] for key in get_type_hints(Config) if key not in (*GROUPS, "own_choices")}
    for group, choices in CHOICES.items():
        for choice in choices:
            cls = _class(group, choice)
            for name in get_type_hints(cls) if cls else yaml_files.explained(group, choice):
                if name != "name":
                    keys.setdefault(f"{group}.{name}", []).append(choice)
    return keys


def choices_with(key: str) -> str:
    """The choices that have a key, in words: 'norm=bn, norm=brn and norm=sn'. Empty for a key outside groups."""
    names = [f"{key.partition('.')[0]}={choice}" for choice in known_keys()[key]]
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def key_types(key: str, choices: Iterable[str] | None = None) -> dict[str, tuple[Any, Mapping[str, float]]]:
    """Type and bounds of a key's values for each choice that has it, such as `gn`; under an empty string for a top-level key.
    choices: only of these. Choices of other packages that can't be used are left out."""
    group, _, name = key.rpartition(".")
    classes: dict[str, type] = {} if group else {"": Config}
    for choice in (known_keys().get(key, []) if choices is None else choices) if group else ():
        with suppress(ConfigError):
            classes[choice] = CHOICES[group][choice]
    return {
        choice: (get_type_hints(cls)[name], field.metadata)
        for choice, cls in classes.items()
        for field in dataclasses.fields(cls)
        if field.name == name
    }


def with_later_keys(flat: Mapping[str, Any]) -> dict[str, Any]:
    """A flat stored config with the hyperparameters that did not exist when it was stored, at their defaults, such as
    weight=none. Runs from before and after a key was added are the same if they are trained in the same way."""
    later: dict[str, Any] = {}
    for prefix, cls in [("", Config), *((f"{group}.", _class(group, flat.get(group))) for group in GROUPS)]:
        for field in dataclasses.fields(cls) if cls else ():
            key = f"{prefix}{field.name}"
            if field.default is not dataclasses.MISSING and key.partition(".")[0] not in NOT_HYPERPARAMETERS:
                later[key] = field.default.name if key in GROUPS else field.default
    return {**flat, **{key: value for key, value in later.items() if key not in flat}}  # options after their choice


def _class(group: str, choice: object) -> Any:
    """The config class of a choice; None for an unknown one, and for one of another package that was not used so far."""
    if not isinstance(choice, str):
        return None
    if group in REGISTRIES:
        return getattr(REGISTRIES[group].loaded.get(choice), "config", None)
    return CHOICES[group].get(choice)


def hyperparameters(config: Config) -> dict[str, Hyperparameter]:
    """All hyperparameters that any config can have, in the order of the config, with this config's values. A group is listed
    under its own name, with its choice. A key that this config's choice lacks has the value None."""
    result: dict[str, Hyperparameter] = {}
    own = own_names(config.own_choices)
    for key, hint in get_type_hints(Config).items():
        value = getattr(config, key)
        if key in NOT_HYPERPARAMETERS:
            continue
        if key not in GROUPS:
            result[key] = _hyperparameter(hint, value)
            continue
        result[key] = Hyperparameter(str, own.get(key, value.name))
        for cls in filter(None, (_class(key, choice) for choice in CHOICES[key])):
            for name, inner_hint in get_type_hints(cls).items():
                if name != "name":
                    result[f"{key}.{name}"] = _hyperparameter(inner_hint, getattr(value, name, None))
    return result


def _hyperparameter(hint: Any, value: Any) -> Hyperparameter:
    """Numbers and booleans keep a type of TensorBoard's; everything else is shown as a string."""
    if get_origin(hint) in (types.UnionType, Union):
        hints = [arg for arg in get_args(hint) if arg is not types.NoneType]
        hint = hints[0] if len(hints) == 1 else str  # such as a number or "auto"
    kind: type = {bool: bool, int: float, float: float}.get(hint, str)
    convert = show if kind is str else kind
    return Hyperparameter(kind, None if value is None else convert(value))
