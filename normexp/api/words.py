"""Turn the arguments of a function into words of the command line, and words into a config."""

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from normexp.compose.argv import parse_argv
from normexp.compose.choices import known_keys
from normexp.compose.compose import compose_tree, is_multirun, quoted
from normexp.compose.isolation import own_hydra_state
from normexp.compose.overrides import STRING_KEYS, validate_overrides
from normexp.compose.seeds import expand_seeds
from normexp.compose.validate import validate
from normexp.config import GROUPS, Config, ConfigError, show

PLAIN = re.compile(r"[\w.,+/~-]+")
"""Strings that need no quotes in an override."""

one_at_a_time = threading.RLock()
"""Held while the global state of Hydra or torch is the run's own, so that other threads wait."""


def to_words(words: Sequence[str], keys: Mapping[str, Any], *, sweeps: bool = False) -> list[str]:
    """Overrides as on the command line: to_words(["norm=bn"], {"lr": 0.1}) is ["norm=bn", "lr=0.1"].

    sweeps: whether the items of a list are values to sweep over. Raises ConfigError for flags and for values of other types.
    """
    for word in words:
        if not isinstance(word, str):
            raise ConfigError(f"{show(word)} is not an override: overrides are written 'key=value' or key=value.")
        if word.startswith("-"):
            raise ConfigError(f"{show(word)} is a flag of the command line; for a sweep (-m), use normexp.sweep.")
    for key in keys:
        group, _, name = key.partition("_")
        if group in GROUPS and (dotted := f"{group}.{name}") in known_keys():
            raise ConfigError(f"Unknown key {show(key)}. Write '{dotted}=...', or **{{'{dotted}': ...}}.")
    return [*words, *(f"{key}={_to_text(key, value, sweeps=sweeps)}" for key, value in keys.items())]


def _to_text(key: str, value: Any, *, sweeps: bool = False) -> str:
    if hasattr(value, "tolist"):  # an array, tensor or one of their scalars
        value = value.tolist()
    match value:
        case None | bool():
            return show(value)
        case int() | float():
            return repr(value)
        case str() | Path():
            text, is_string = str(value), key in (*STRING_KEYS, "data.path")
            return quoted(text) if is_string and not PLAIN.fullmatch(text) else text
        case list() | tuple() | range():
            items = [_to_text(key, item) for item in value]
            if sweeps and not items:
                raise ConfigError(f"{key}=[]: at least one value is needed.")
            return ",".join(items) if sweeps else f"[{','.join(items)}]"
        case Mapping():
            raise ConfigError(f"{key}: keys of a group are given one by one, such as 'optim.momentum=0.9'.")
    raise ConfigError(f"{key}={show(value)}: a value must be a number, a string, a bool, None or a list of these.")


@dataclass(frozen=True)
class Composed:
    """A config, its plain mapping, the checked overrides, and the words of the command that would compose it."""

    config: Config
    tree: Mapping[str, Any]
    overrides: Sequence[str]
    argv: Sequence[str]


def argv_of(words: Sequence[str], config_dir: str | Path | None) -> list[str]:
    """The words with config_dir as a flag, and seeds=3 as -m seed=0,1,2."""
    folder = [] if config_dir is None else ["--config-dir", str(Path(config_dir).expanduser())]
    return expand_seeds([*folder, *words])


@own_hydra_state()
def compose_run(words: Sequence[str], config_dir: str | Path | None) -> Composed:
    """The config of a single run. Raises ConfigError, as `normexp train` does."""
    argv = argv_of(words, config_dir)
    arguments = parse_argv(argv)
    overrides, folder = arguments.overrides, arguments.config_dir
    experiment = next((word for word in overrides if word.startswith("experiment=")), None)
    cause = next((word for word in words if word.startswith("seeds=")), experiment)
    if arguments.has("-m") or (experiment and is_multirun(overrides, folder)):
        raise ConfigError(f"{show(cause)} is a sweep: use normexp.sweep.")
    overrides = validate_overrides(overrides, folder)
    tree = compose_tree(overrides, folder)
    return Composed(validate(tree), tree, overrides, argv)
