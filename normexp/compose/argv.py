"""Parse the command line of `normexp train` into flags and overrides."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from normexp.compose.overrides import keys_called
from normexp.config import GROUPS, ConfigError, show, suggest, yaml_files

FLAGS: dict[str, tuple[str, ...] | None] = {
    **dict.fromkeys(
        ("--multirun", "-m", "--quiet", "-q", "--dry-run", "--resolve", "--hydra-help", "--help", "-h", "--version")
    ),
    **dict.fromkeys(("--cfg", "-c"), ("job", "hydra", "all")),
    **dict.fromkeys(("--info", "-i"), ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")),
    **dict.fromkeys(("--package", "-p", "--config-dir", "-cd"), ()),
}
"""The flags, most of them Hydra's, with the values they accept: None for a flag without a value, () for any value. Left out on
purpose: --experimental-rerun loads a pickle; --config-path and --config-name would replace the keys that normexp knows;
`normexp completion` replaces --shell-completion."""

PRINTING_FLAGS = {"-c", "--cfg", "-i", "--info", "--hydra-help"}
"""Flags that make Hydra print the config or its own help; nothing is trained then."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """A parsed command line. flags: each followed by its value, if it has one."""

    flags: list[str]
    overrides: list[str]
    config_dir: Path | None

    def has(self, *flags: str) -> bool:
        return not {*flags}.isdisjoint(self.flags)


def parse_argv(argv: Iterable[str]) -> Arguments:
    """Separate flags and overrides, which may come in any order. Raises ConfigError for words that are neither."""
    flags: list[str] = []
    overrides: list[str] = []
    config_dir: Path | None = None
    words = list(argv)
    while words:
        word = words.pop(0)
        if any("\ud800" <= c <= "\udfff" for c in word):  # Python's surrogate escapes for bytes that are not UTF-8
            raise ConfigError(f"{show(word)} is not valid UTF-8.")
        if not word.startswith("-"):
            if "=" not in word and not word.startswith("~"):
                raise ConfigError(_not_an_override(word, before=overrides, after=words))
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
            needed = f"one of {', '.join(accepted)}" if accepted else "a value"
            raise ConfigError(f"{flag} must be followed by {needed}.")
        if flag in ("--config-dir", "-cd"):
            config_dir = existing_config_dir(value)
        flags.append(value)
    _check_modes(flags)
    return Arguments(flags, overrides, config_dir)


def _check_modes(flags: Sequence[str]) -> None:
    """Raise ConfigError for flags that don't go together."""
    modes = [flag for flag in ("--multirun", "--cfg", "--info") if {flag, flag[1:3]} & set(flags)]  # --cfg or -c
    if len(modes) > 1:
        raise ConfigError(f"{' and '.join(modes)} can't be combined.")
    if "--cfg" not in modes and (lonely := {"--resolve", "--package", "-p"} & set(flags)):
        raise ConfigError(f"{lonely.pop()} works with --cfg only, which prints the config.")
    if "--dry-run" in flags and PRINTING_FLAGS & set(flags):
        raise ConfigError("--dry-run can't be combined with --cfg or --info.")


def _not_an_override(word: str, *, before: Sequence[str], after: Sequence[str]) -> str:
    """Message for a word without `=`. before, after: the other words of the command line."""
    following = after[0] if after else ""
    if following.startswith("="):  # norm = bn
        value = following[1:] or (after[1] if len(after) > 1 else "...")
        return f"Write {show(f'{word}={value}')} without spaces around the =."
    if before and before[-1].endswith("="):  # norm= bn
        return f"Write {show(before[-1] + word)} without spaces around the =."
    key, colon, value = word.partition(":")  # norm:bn, or norm bn
    if not colon and not following.startswith("-") and "=" not in following:
        value = following
    meant = [f"{known}={value}" for known in keys_called(key) if value]
    meant = meant or [f"{group}={word}" for group in GROUPS if word in yaml_files.choices(group)]
    hint = f" Did you mean {show(' or '.join(meant))}?" if meant else ""
    if word == "help":
        hint = " normexp help train lists them."
    return f"{show(word)} is not an override: overrides are written key=value, such as lr=0.1.{hint}"


def _unknown_flag(flag: str, value: str, following: Sequence[str]) -> str:
    for key in keys_called(flag.lstrip("-").replace("-", "_"))[:1]:
        if key == "device" != flag.lstrip("-"):  # --gpu, --cuda
            return "Use device=cuda."
        example = value or (following[0] if following and "=" not in following[0] else "...")
        return f"{show(flag)} is written without dashes: {key}={show(example)}."
    return f"Unknown flag {show(flag)}.{suggest(flag, FLAGS)} normexp train --help lists them."


def existing_config_dir(text: str) -> Path:
    """The folder that --config-dir names. Raises ConfigError if it does not exist."""
    with suppress(OSError):  # such as a name that is too long
        if Path(text).is_dir():
            return Path(text)
    raise ConfigError(f"--config-dir {show(text)} is not a folder.")
