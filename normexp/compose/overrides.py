"""The command line of `normexp train` before Hydra sees it: flags to the front, overrides checked for their names."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from normexp.config import GROUPS, OVERLAYS, Config, ConfigError, nearest, show, unknown_choice, unknown_key, yaml_files

FLAGS: dict[str, tuple[str, ...] | None] = {
    "--multirun": None,
    "-m": None,
    "--cfg": ("job", "hydra", "all"),
    "-c": ("job", "hydra", "all"),
    "--resolve": None,
    "--package": (),
    "-p": (),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "-i": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "--config-dir": (),
    "-cd": (),
    "--hydra-help": None,
    "--help": None,
    "-h": None,
    "--version": None,
}
"""Hydra's flags that normexp passes on, and what may follow them: None nothing, () any value, else one of these.

Not passed on: --experimental-rerun, which loads a pickle; --config-path and --config-name, which would replace the keys
that normexp knows; --shell-completion, in whose place stands `normexp completion`.
"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    flags: list[str]
    overrides: list[str]
    config_dir: Path | None

    @property
    def prints(self) -> bool:
        """Whether these ask for the config or for Hydra's help, and not for training."""
        return bool({"-c", "--cfg", "-i", "--info", "--hydra-help"} & set(self.flags))

    @property
    def multirun(self) -> bool:
        return bool({"-m", "--multirun"} & set(self.flags))


def arrange(argv: Iterable[str]) -> Arguments:
    """Flags with their values, and overrides, from any order. ConfigError for what is neither."""
    flags: list[str] = []
    overrides: list[str] = []
    config_dir: Path | None = None
    words = list(argv)
    while words:
        word = words.pop(0)
        if any("\ud800" <= c <= "\udfff" for c in word):  # what Python makes of bytes that are no text
            raise ConfigError(f"{show(word)} is not text in UTF-8.")
        if not word.startswith("-"):
            if "=" not in word and not word.startswith("~"):
                raise ConfigError(
                    f"{show(word)} is not an override: overrides are written key=value, such as lr=0.1.{_as_choice(word)}"
                )
            overrides.append(word)
            continue
        flag, equals, value = word.partition("=")
        if flag not in FLAGS:
            name = flag.lstrip("-")
            if name in GROUPS or name in known_keys():
                example = value or (words[0] if words and "=" not in words[0] else "...")
                raise ConfigError(f"{show(flag)} is written without dashes: {name}={show(example)}.")
            raise ConfigError(f"There is no flag {show(flag)}.{nearest(flag, FLAGS)} normexp train --help lists them.")
        takes = FLAGS[flag]
        if takes is None:
            flags.append(flag)
            continue
        if not equals:
            value = (
                words.pop(0) if words and (words[0] in takes or (not takes and not words[0].startswith("-"))) else ""
            )
        if value == "" and flag in ("--info", "-i"):
            value = "all"
        if value == "" or (takes and value not in takes):
            raise ConfigError(f"{flag} must be followed by {'one of ' + ', '.join(takes) if takes else 'a value'}.")
        if flag in ("--config-dir", "-cd"):
            config_dir = _folder(value)
        flags += [flag, value]
    _check_flags(set(flags))
    return Arguments(flags, overrides, config_dir)


def _folder(text: str) -> Path:
    try:
        there = Path(text).is_dir()
    except OSError:  # a name that is too long, say
        there = False
    if not there:
        raise ConfigError(f"--config-dir {show(text)}: there is no such folder.")
    return Path(text)


def _check_flags(flags: set[str]) -> None:
    modes = [both for both in (("-m", "--multirun"), ("-c", "--cfg"), ("-i", "--info")) if flags & set(both)]
    if len(modes) > 1:
        raise ConfigError(f"{' and '.join(long for _, long in modes)} don't go together: leave one out.")
    if not flags & {"-c", "--cfg"} and (lonely := flags & {"--resolve", "--package", "-p"}):
        raise ConfigError(f"{lonely.pop()} goes with --cfg, which prints the config.")


def _as_choice(word: str) -> str:
    """A hint for someone who wrote `bn` for `norm=bn`."""
    group = next((group for group in GROUPS if word in yaml_files.choices(group)), None)
    return f" Did you mean {group}={word}?" if group else ""


def check(arguments: Arguments, *, sweeps: bool = False) -> list[str]:
    """The overrides, with each key and choice known to exist, in the form in which Hydra reads them as meant.

    sweeps: whether a key may have several values.

    Raises ConfigError otherwise. Values are checked when the config is composed.
    """
    if arguments.config_dir is not None:
        _check_config_dir(arguments.config_dir)
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    checked: list[str] = []
    chosen: set[str] = set()
    for typed in arguments.overrides:
        text = typed
        try:
            override = parser.parse_override(text)
        except (HydraException, ValueError) as error:  # ValueError: Python's own, for numbers of thousands of digits
            raise ConfigError(
                f"{show(text)} can't be read ({reason(error)}); quote special characters: 'key=\"a b\"'."
            ) from error
        except RecursionError as error:
            raise ConfigError(f"{show(text)}: its brackets are nested too deeply.") from error
        key = override.key_or_group
        if (quoted := _quoted_number(text, override)) is not None:
            text, override = quoted, parser.parse_override(quoted)
        if key in GROUPS and key in chosen:
            raise ConfigError(f"{key} is chosen twice: leave one out, or sweep over both with -m {key}=...,...")
        chosen.add(key)
        if key.endswith("_target_"):
            raise ConfigError(f"{show(text)}: _target_ is not allowed in configs: it names code to run.")
        if key == "hydra.launcher.n_jobs":
            raise ConfigError(f"{show(text)}: jobs=N says how many runs go at once.")
        if text in DEFAULTS:
            continue
        hydras = key.startswith(("hydra.", "hydra/"))
        checked.append(
            _check_hydras(text, override) if hydras else _check_own(text, override, arguments, sweeps=sweeps)
        )
    return checked


DEFAULTS = tuple(f"{group}=null" for group in OVERLAYS)
"""Overrides that are valid but change nothing; Hydra refuses null for a group."""

STRINGS = ("checkpoint_every", "name", "runs_dir", "data_dir", *OVERLAYS)
"""Keys that take a string, and groups whose choices may be users' own files."""


def _quoted_number(text: str, override: Any) -> str | None:
    """The override with its value in quotes, for a string that Hydra would read as a number and write differently: name=1e3
    must not become 1000.0. None for others."""
    if override.key_or_group not in STRINGS or override.is_sweep_override() or override.is_delete():
        return None
    head, _, typed = text.partition("=")
    typed, value = typed.strip(), override.value()
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    changed = str(value) != typed or override.key_or_group in OVERLAYS
    return f"{head}='{typed}'" if is_number and changed and "(" not in typed else None


def reason(error: Exception) -> str:
    """What an error of Hydra's or OmegaConf's says first, without the names of Python's errors, printable."""
    text = re.sub(
        r"\b\w+(Error|Exception) (while evaluating '.*?': |raised while resolving interpolation: )", "", str(error)
    )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return show((lines or [type(error).__name__])[0].rstrip("."), most=200)


def _check_hydras(text: str, override: Any) -> str:
    """An override of a key of Hydra's: those of the launcher and the sweeper are the user's, the others normexp's."""
    key = override.key_or_group
    if not key.startswith(HYDRAS):
        raise ConfigError(
            f"{show(text)}: normexp sets {show(key)} itself; runs_dir and name say where runs go, -m makes a sweep."
        )
    if "/" in key and (override.is_delete() or override.is_sweep_override() or not isinstance(override.value(), str)):
        raise ConfigError(f"{show(text)}: {show(key)} takes a name, as in hydra/sweeper=optuna.")
    return text


HYDRAS = ("hydra/launcher", "hydra/sweeper", "hydra.launcher.", "hydra.sweeper.")
"""How keys of Hydra's begin that an override may name."""


def _check_own(text: str, override: Any, arguments: Arguments, *, sweeps: bool) -> str:
    """An override of a key of normexp's, not of Hydra's."""
    key = override.key_or_group
    is_group = key in (*GROUPS, *OVERLAYS)
    if not is_group and key not in known_keys():
        raise ConfigError(_unknown(key))
    if override.is_add() or override.is_force_add():
        raise ConfigError(f"{show(text)}: the key exists, so that it is written without +.")
    if override.is_delete():
        raise ConfigError(f"{show(text)}: a key can't be taken away; give it another value.")
    if override.is_sweep_override() and not sweeps:
        raise ConfigError(f"{show(text)} has several values, which is a sweep: add -m.")
    return _check_group(text, override, arguments.config_dir) if is_group else text


def _check_group(text: str, override: Any, config_dir: Path | None) -> str:
    from hydra.core.override_parser.types import Glob

    group = override.key_or_group
    names = yaml_files.choices(group, *([config_dir] if config_dir else []))
    value = override.value()
    if isinstance(value, Glob):  # norm=glob(*): Hydra finds the names
        return text
    chosen = value.list if override.is_sweep_override() and hasattr(value, "list") else [value]
    for item in chosen:
        name = getattr(item, "text", item)  # a quoted string has its text inside
        if isinstance(name, bool):  # `off` is a boolean to Hydra
            name = "on" if name else "off"
        if not isinstance(name, str):
            raise ConfigError(f"{show(text)}: {group} is one of {', '.join(names)}.")
        if name not in names:
            own = f" --config-dir DIR finds yours, in DIR/{group}/NAME.yaml." if group in OVERLAYS else ""
            raise ConfigError(unknown_choice(group, name, names) + _by_title(group, name) + own)
    return text.replace("=off", "='off'") if chosen == [False] else text


def _by_title(group: str, word: str) -> str:
    """A hint for someone who wrote `batchnorm` for `bn`."""
    from normexp.norms import NORMS

    stem = word.lower().replace("norm", "").strip("_- ")
    names = [name for name, norm in NORMS.items() if group == "norm" and stem and norm.title.startswith(stem)]
    return f" Did you mean {names[0]}?" if len(names) == 1 else ""


def _check_config_dir(folder: Path) -> None:
    if (folder / "hydra").exists():
        raise ConfigError(f"{show(folder / 'hydra')}: launchers and sweepers are those that are installed; rename it.")
    for group in GROUPS:
        for name in yaml_files.choices(group):
            if yaml_files.is_choice(path := folder / group / f"{name}.yaml"):
                raise ConfigError(
                    f"{path} has the name of a choice that normexp brings, and would not be used: rename it."
                )


@functools.cache
def known_keys() -> dict[str, list[str]]:
    """Every key that an override can name, apart from the groups; for a key of a group, the choices that have it."""
    from normexp.compose.choices import CHOICES

    keys: dict[str, list[str]] = {field.name: [] for field in dataclasses.fields(Config) if field.name not in GROUPS}
    for group, classes in CHOICES.items():
        for choice, cls in classes.items():
            for field in dataclasses.fields(cls):
                if field.name != "name":
                    keys.setdefault(f"{group}.{field.name}", []).append(choice)
    return keys


def _unknown(key: str) -> str:
    """The sentence for a key that no choice has."""
    group, _, last = key.rpartition(".")
    if group in GROUPS and last == "name":
        return f"{key}: a {group} is chosen with {group}=..."
    same = [known for known in [*known_keys(), *GROUPS] if known.rpartition(".")[2] == last]
    if same:
        return f"There is no key {show(key)}. Did you mean {' or '.join(same)}?"
    return unknown_key(key, [*GROUPS, *known_keys()]) + " normexp train --help explains them."
