"""Check the keys and choices of overrides before Hydra sees them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normexp.compose.choices import CHOICES, known_keys
from normexp.compose.errors import reason
from normexp.config import (
    GROUPS,
    OVERLAYS,
    SYNONYMS,
    ConfigError,
    show,
    unknown_choice,
    unknown_key,
    yaml_files,
)
from normexp.norms import NORMS

if TYPE_CHECKING:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Override

HYDRA_PREFIXES = ("hydra/launcher", "hydra/sweeper", "hydra.launcher.", "hydra.sweeper.")
"""The keys of Hydra's that an override may set begin with one of these."""

LAUNCHER_LABELS = tuple(
    f"hydra.launcher.{key}"
    for key in ("partition", "account", "qos", "gres", "constraint", "exclude", "comment", "mem_per_cpu", "mem_per_gpu")
)
"""Strings of a launcher that a file may set. Others can be shell commands, such as `setup`, or name code to import."""

PATH_KEYS = ("runs_dir", "data_dir", "data.path")
"""Keys whose values need no quotes for what Hydra's grammar refuses, such as ~, brackets or letters that are not ASCII."""

STRING_KEYS = ("checkpoint_every", "name", *PATH_KEYS, *OVERLAYS)
"""Keys that are strings, and groups whose choices may be users' own files: a value such as 1e3 is no number here."""

EXCLUSIVE_KEYS = (("norm.groups", "norm.group_size"),)
"""Keys that set the same number in different ways."""


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """The overrides, parsed by Hydra's grammar. Raises Hydra's exceptions."""
    return _parser().parse_overrides(list(overrides))


@functools.cache
def _parser() -> OverridesParser:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create()


def validate_overrides(overrides: Sequence[str], config_dir: Path | None = None, *, sweeps: bool = False) -> list[str]:
    """The overrides in a form that Hydra reads as the user meant them. sweeps: whether a key may have several values. Raises
    ConfigError for unknown keys and choices. Values are checked when the config is composed."""
    if config_dir is not None and (folder := config_dir / "hydra").exists():
        raise ConfigError(f"{show(folder)}: only installed launchers and sweepers can be used; rename it.")
    validated: list[str] = []
    chosen_groups: set[str] = set()
    chosen_keys: set[str] = set()
    for typed in overrides:
        text, override = _parse(typed)
        key = override.key_or_group
        if key in GROUPS and key in chosen_groups:
            raise ConfigError(f"{key} is given twice; to sweep over both: -m {key}=A,B")
        chosen_groups.add(key)
        if key in OVERLAYS and text == f"{key}=null":  # changes nothing, and Hydra refuses null for a group
            continue
        for problem in _problems(text, override, config_dir, sweeps=sweeps):
            raise ConfigError(problem)
        is_off = key in (*GROUPS, *OVERLAYS) and override.value() is False  # `off` is a boolean to Hydra
        validated.append(text.replace("=off", "='off'") if is_off else text)
        if override.is_sweep_override() or override.value() is not None:
            chosen_keys.add(key)
    for pair in EXCLUSIVE_KEYS:
        if chosen_keys.issuperset(pair):
            raise ConfigError(f"{' and '.join(pair)} are both given: leave one out.")
    return validated


def _parse(text: str) -> tuple[str, Override]:
    """The override, with its value in quotes if Hydra would read a string as a number and change it: name=1e3 would become
    name=1000.0."""
    from hydra.errors import HydraException

    try:
        text, override = _parse_path(text) or (text, _parser().parse_override(text))
    except (HydraException, ValueError) as error:  # ValueError: Python's own, for numbers of thousands of digits
        raise ConfigError(f"{show(text)} can't be read: {_syntax_problem(text, error)}.") from error
    except RecursionError as error:
        raise ConfigError(f"{show(text)}: brackets are nested too deeply.") from error
    if override.key_or_group not in STRING_KEYS or override.is_sweep_override() or override.is_delete():
        return text, override
    head, _, typed = text.partition("=")
    typed, value = typed.strip(), override.value()
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    changed = str(value) != typed or override.key_or_group in OVERLAYS
    if is_number and changed and "(" not in typed:
        text = f"{head}='{typed}'"
        override = _parser().parse_override(text)
    return text, override


def _parse_path(text: str) -> tuple[str, Override] | None:
    """The override of a path that Hydra's grammar refuses, in quotes. Commas separate the values of a sweep: None for these."""
    from hydra.errors import HydraException

    key, _, path = text.partition("=")
    if key not in PATH_KEYS or "," in path or path.strip()[:1] in ("", "'", '"'):
        return None
    try:
        _parser().parse_override(text)
    except HydraException:
        escaped = path.replace("'", r"\'")
        text = f"{key}='{escaped}'"
        return text, _parser().parse_override(text)
    return None


def _syntax_problem(text: str, error: Exception) -> str:
    """Description of what Hydra's grammar refuses in an override, without the names of its tokens."""
    value = text.partition("=")[2]
    if re.search(r"(^|,)\s*(,|$)", value):
        return "a value is missing before or after a comma"
    unexpected = re.search(r"(?:input|recognition error at:) '(.+?)'(?: expecting|$)", str(error).splitlines()[0])
    if not unexpected:
        return f"{reason(error)}; quote special characters: 'key=\"a b\"'"
    if ";" in unexpected[1]:
        return f"several values are separated by commas, as in -m {show(text.replace(';', ','))}"
    if unexpected[1] == "<EOF>" or "no viable alternative" in str(error):
        return "a bracket or a value is missing"
    return f"unexpected {show(unexpected[1])!r}; quote special characters: 'key=\"a b\"'"


def _problems(text: str, override: Override, config_dir: Path | None, *, sweeps: bool) -> Iterator[str]:
    """Errors in the key, or in the choices of a group."""
    key = override.key_or_group
    if key.endswith("_target_"):
        yield f"{show(text)}: _target_ is not allowed in configs: it names code to run."
    if key == "hydra.launcher.n_jobs":
        yield f"{show(text)}: use jobs=N for the number of runs at a time."
    if key.startswith(("hydra.", "hydra/")):
        if not key.startswith(HYDRA_PREFIXES):
            yield f"{show(text)}: {show(key)} is set by normexp; use runs_dir and name for the location of runs, -m for a sweep."
        value = None if override.is_delete() or override.is_sweep_override() else override.value()
        if "/" in key and not isinstance(value, str):
            yield f"{show(text)}: {show(key)} must be a name, as in hydra/sweeper=optuna."
        return
    is_group = key in (*GROUPS, *OVERLAYS)
    if not is_group and key not in known_keys():
        yield _unknown_key(key)
    if override.is_add() or override.is_force_add():
        yield f"{show(text)}: the key exists already; write it without +."
    if override.is_delete():
        yield f"{show(text)}: keys can't be removed; set another value."
    if override.is_sweep_override() and not sweeps:
        yield f"{show(text)} has several values; add -m for a sweep."
    if is_group:
        yield from _choice_problems(text, override, config_dir)


def _choice_problems(text: str, override: Override, config_dir: Path | None) -> Iterator[str]:
    from hydra.core.override_parser.types import Glob

    group = override.key_or_group
    value: Any = override.value()
    if isinstance(value, Glob):  # norm=glob(*): Hydra expands it
        return
    names = yaml_files.choices(group, *([config_dir] if config_dir else []))
    several = override.is_sweep_override()
    for item in getattr(value, "list", [value]) if several else [value]:
        name = getattr(item, "text", item)  # the content of a quoted string
        if isinstance(name, bool) and not several:
            name = text.partition("=")[2]  # as typed
        if isinstance(name, list) and name and all(isinstance(each, str) for each in name):
            yield f"{show(text)}: {group} is one of {', '.join(names)}. For a sweep: -m {group}={','.join(name)}"
        elif not isinstance(name, str):
            yield f"{show(text)}: {group} is one of {', '.join(names)}."
        elif name not in names:
            stem = name.lower().replace("norm", "").strip("_- ")  # batchnorm: bn, whose title begins so
            titles = {n: norm.title.lower() for n, norm in NORMS.loaded.items() if group == "norm" and stem}
            named = [n for n, title in titles.items() if title == f"{stem} norm"]
            named = named or [n for n, title in titles.items() if title.startswith(stem)]
            groups = [g for g in ("norm", "weight") if name in yaml_files.choices(g)]  # norm=ws: weight=ws
            elsewhere = [f"{g}={name}" for g in groups]
            meant = named[0] if len(named) == 1 else next(iter(elsewhere), None)
            message = unknown_choice(group, name, names, meant=meant)
            own = f" --config-dir DIR adds your own, from DIR/{group}/NAME.yaml."
            yield message if message.endswith("?") else message + own
        elif name in CHOICES.get(group, ()):
            _ = CHOICES[group][name]  # raises for one of another package that can't be used


def _unknown_key(key: str) -> str:
    group, _, last = key.rpartition(".")
    if group in GROUPS and last == "name":
        return f"{key}: use {group}=... to choose a {group}."
    if not key:
        return "A key is missing before the =: overrides are written key=value, such as lr=0.1."
    if meant := keys_called(key):
        return f"Unknown key {show(key)}. Did you mean {' or '.join(meant)}?"
    return unknown_key(key, [*GROUPS, *known_keys()]) + " normexp train --help explains them."


def keys_called(word: str) -> list[str]:
    """The keys and groups of this name: its own, else inside any group or in other libraries. Not those that look similar."""
    known = [*GROUPS, *OVERLAYS, *known_keys()]
    if word in known:
        return [word]
    group, _, last = word.rpartition(".")
    if group in GROUPS and last == "name":
        return [group]
    synonym = SYNONYMS.get(last.lower(), "")
    if synonym and (not group or synonym.startswith(f"{group}.")):
        return [synonym]
    same = [key for key in known if key.rpartition(".")[2] == last]
    return same or [synonym] * bool(synonym)
