"""Parse the command line of `normexp train` before Hydra sees it, and check the keys and choices of its overrides."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normexp.compose.choices import known_keys
from normexp.compose.errors import reason
from normexp.config import GROUPS, OVERLAYS, ConfigError, show, suggest, unknown_choice, unknown_key, yaml_files
from normexp.norms import NORMS

if TYPE_CHECKING:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Override

FLAGS: dict[str, tuple[str, ...] | None] = {
    **dict.fromkeys(("--multirun", "-m", "--resolve", "--hydra-help", "--help", "-h", "--version")),
    **dict.fromkeys(("--cfg", "-c"), ("job", "hydra", "all")),
    **dict.fromkeys(("--info", "-i"), ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")),
    **dict.fromkeys(("--package", "-p", "--config-dir", "-cd"), ()),
}
"""Hydra's flags that normexp passes on, with the values they accept: None for a flag without a value, () for any value.

Left out on purpose: --experimental-rerun loads a pickle; --config-path and --config-name would replace the keys that normexp
knows; --shell-completion is replaced by `normexp completion`.
"""

PRINTING_FLAGS = {"-c", "--cfg", "-i", "--info", "--hydra-help"}

HYDRA_PREFIXES = ("hydra/launcher", "hydra/sweeper", "hydra.launcher.", "hydra.sweeper.")
"""The keys of Hydra's that an override may set begin with one of these."""

LAUNCHER_LABELS = tuple(
    f"hydra.launcher.{key}"
    for key in ("partition", "account", "qos", "gres", "constraint", "exclude", "comment", "mem_per_cpu", "mem_per_gpu")
)
"""Strings of a launcher that a file may set. Others can be shell commands, such as `setup`, or name code to import."""

NO_OVERLAY = tuple(f"{group}=null" for group in OVERLAYS)
"""Valid overrides that change nothing; Hydra refuses null for a group."""

STRING_KEYS = ("checkpoint_every", "name", "runs_dir", "data_dir", *OVERLAYS)
"""Keys that are strings, and groups whose choices may be users' own files: a value such as 1e3 is no number here."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """A parsed command line. flags: each followed by its value, if it has one."""

    flags: list[str]
    overrides: list[str]
    config_dir: Path | None

    @property
    def prints(self) -> bool:
        """Whether Hydra is asked to print the config or its own help; nothing is trained then."""
        return bool(PRINTING_FLAGS & set(self.flags))

    @property
    def multirun(self) -> bool:
        return bool({"-m", "--multirun"} & set(self.flags))


def parse_argv(argv: Iterable[str]) -> Arguments:
    """Separate flags and overrides, which may come in any order. Raises ConfigError for words that are neither."""
    flags: list[str] = []
    overrides: list[str] = []
    config_dir: Path | None = None
    words = list(argv)
    while words:
        word = words.pop(0)
        if any("\ud800" <= c <= "\udfff" for c in word):  # Python's surrogate escapes for bytes that are not UTF-8
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
            raise ConfigError(_unknown_flag(flag, value, words))
        accepted = FLAGS[flag]
        flags.append(flag)
        if accepted is None:
            continue
        if not equals and words and (words[0] in accepted or (not accepted and not words[0].startswith("-"))):
            value = words.pop(0)
        if value == "" and flag in ("--info", "-i"):
            value = "all"
        if value == "" or (accepted and value not in accepted):
            raise ConfigError(
                f"{flag} must be followed by {'one of ' + ', '.join(accepted) if accepted else 'a value'}."
            )
        if flag in ("--config-dir", "-cd"):
            config_dir = existing_config_dir(value)
        flags.append(value)
    _check_flags(set(flags))
    return Arguments(flags, overrides, config_dir)


def existing_config_dir(text: str) -> Path:
    """The folder that --config-dir names. Raises ConfigError if it does not exist."""
    try:
        exists = Path(text).is_dir()
    except OSError:  # such as a name that is too long
        exists = False
    if not exists:
        raise ConfigError(f"--config-dir {show(text)}: there is no such folder.")
    return Path(text)


def _unknown_flag(flag: str, value: str, following: Sequence[str]) -> str:
    name = flag.lstrip("-")
    if name in GROUPS or name in known_keys():
        example = value or (following[0] if following and "=" not in following[0] else "...")
        return f"{show(flag)} is written without dashes: {name}={show(example)}."
    return f"There is no flag {show(flag)}.{suggest(flag, FLAGS)} normexp train --help lists them."


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


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """The overrides, parsed by Hydra's grammar. Raises Hydra's exceptions."""
    return _parser().parse_overrides(list(overrides))


@functools.cache
def _parser() -> OverridesParser:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create()


def validate_overrides(overrides: Sequence[str], config_dir: Path | None = None, *, sweeps: bool = False) -> list[str]:
    """The overrides in a form that Hydra reads as the user meant them. sweeps: whether a key may have several values.

    Raises ConfigError for unknown keys and choices. Values are checked when the config is composed.
    """
    if config_dir is not None:
        _check_config_dir(config_dir)
    from hydra.errors import HydraException

    validated: list[str] = []
    chosen_groups: set[str] = set()
    for typed in overrides:
        text = typed
        try:
            override = _parser().parse_override(text)
        except (HydraException, ValueError) as error:  # ValueError: Python's own, for numbers of thousands of digits
            raise ConfigError(
                f"{show(text)} can't be read ({reason(error)}); quote special characters: 'key=\"a b\"'."
            ) from error
        except RecursionError as error:
            raise ConfigError(f"{show(text)}: its brackets are nested too deeply.") from error
        key = override.key_or_group
        if (quoted := _quoted_number(text, override)) is not None:
            text, override = quoted, _parser().parse_override(quoted)
        if key in GROUPS and key in chosen_groups:
            raise ConfigError(f"{key} is chosen twice: leave one out, or sweep over both with -m {key}=...,...")
        chosen_groups.add(key)
        if key.endswith("_target_"):
            raise ConfigError(f"{show(text)}: _target_ is not allowed in configs: it names code to run.")
        if key == "hydra.launcher.n_jobs":
            raise ConfigError(f"{show(text)}: jobs=N says how many runs go at once.")
        if text in NO_OVERLAY:
            continue
        if key.startswith(("hydra.", "hydra/")):
            _check_hydra_override(text, override)
        else:
            text = _checked_override(text, override, config_dir, sweeps=sweeps)
        validated.append(text)
    return validated


def _quoted_number(text: str, override: Any) -> str | None:
    """The override with its value in quotes if Hydra would read a string as a number and change it, else None.

    name=1e3 would become name=1000.0.
    """
    if override.key_or_group not in STRING_KEYS or override.is_sweep_override() or override.is_delete():
        return None
    head, _, typed = text.partition("=")
    typed, value = typed.strip(), override.value()
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    changed = str(value) != typed or override.key_or_group in OVERLAYS
    return f"{head}='{typed}'" if is_number and changed and "(" not in typed else None


def _check_hydra_override(text: str, override: Any) -> None:
    """Users may set the keys of the launcher and the sweeper; normexp sets all others of Hydra's keys itself."""
    key = override.key_or_group
    if not key.startswith(HYDRA_PREFIXES):
        raise ConfigError(
            f"{show(text)}: normexp sets {show(key)} itself; runs_dir and name say where runs go, -m makes a sweep."
        )
    if "/" in key and (override.is_delete() or override.is_sweep_override() or not isinstance(override.value(), str)):
        raise ConfigError(f"{show(text)}: {show(key)} takes a name, as in hydra/sweeper=optuna.")


def _checked_override(text: str, override: Any, config_dir: Path | None, *, sweeps: bool) -> str:
    """An override of one of normexp's own keys or groups."""
    key = override.key_or_group
    is_group = key in (*GROUPS, *OVERLAYS)
    if not is_group and key not in known_keys():
        raise ConfigError(_unknown_key(key))
    if override.is_add() or override.is_force_add():
        raise ConfigError(f"{show(text)}: the key exists, so that it is written without +.")
    if override.is_delete():
        raise ConfigError(f"{show(text)}: a key can't be taken away; give it another value.")
    if override.is_sweep_override() and not sweeps:
        raise ConfigError(f"{show(text)} has several values, which is a sweep: add -m.")
    return _checked_group(text, override, config_dir) if is_group else text


def _checked_group(text: str, override: Any, config_dir: Path | None) -> str:
    from hydra.core.override_parser.types import Glob

    group = override.key_or_group
    names = yaml_files.choices(group, *([config_dir] if config_dir else []))
    value = override.value()
    if isinstance(value, Glob):  # norm=glob(*): Hydra expands it
        return text
    chosen = value.list if override.is_sweep_override() and hasattr(value, "list") else [value]
    for item in chosen:
        name = getattr(item, "text", item)  # the content of a quoted string
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


def _unknown_key(key: str) -> str:
    group, _, last = key.rpartition(".")
    if group in GROUPS and last == "name":
        return f"{key}: a {group} is chosen with {group}=..."
    same = [known for known in [*known_keys(), *GROUPS] if known.rpartition(".")[2] == last]
    if same:
        return f"There is no key {show(key)}. Did you mean {' or '.join(same)}?"
    return unknown_key(key, [*GROUPS, *known_keys()]) + " normexp train --help explains them."
