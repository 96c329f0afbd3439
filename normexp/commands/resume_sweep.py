"""`normexp resume SWEEP`: run the commands of a sweep again.

They are read from the sweep's folder, which may come from someone else: a command is run only if it writes nothing outside.
"""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from normexp import rundir
from normexp.compose.argv import parse_argv
from normexp.compose.compose import quoted
from normexp.compose.overrides import HYDRA_PREFIXES, LAUNCHER_LABELS, parse_overrides, validate_overrides
from normexp.config import ConfigError, show
from normexp.rundir.environment import missing_package
from normexp.sweeps.manifest import MANIFEST
from normexp.sweeps.names import key_of

FREE_KEYS = ("jobs", "data_dir", "tracker")
"""Keys that may get another value on resume: they change neither the results nor the names of the runs."""

PLAIN_WORD = re.compile(r"[\w.:@+-]+")
"""A value without paths, spaces or line breaks."""


def resume_sweep(folder: Path, manifest: Mapping[str, Any], shown: str, words: Sequence[str]) -> int:
    """Run the recorded commands again, with the overrides in words; returns the exit code. shown: the folder as typed."""
    given = _overrides(words)
    commands, cwd = manifest.get("arguments", []), manifest.get("cwd")
    readable = all(isinstance(stored, list) and all(isinstance(word, str) for word in stored) for stored in commands)
    if not (commands and readable and isinstance(cwd, str)):
        raise ConfigError(f"{show(folder / MANIFEST)} does not record the command that started the sweep.")
    if not Path(cwd).is_dir():
        raise ConfigError(
            f"{show(shown)} was started in {show(cwd, 200)}, which no longer exists; run its command again in another folder."
        )
    rundir.check_name(folder.name)
    os.chdir(cwd)  # paths in the command are relative to it
    try:
        for stored in commands:
            _check_stored(stored, folder)
    except ConfigError as error:
        missing = filter(None, (missing_package(path.parent) for path in folder.glob("*/environment.json")))
        for sentence in missing:
            raise ConfigError(f"{show(shown)} can't be resumed: {sentence}") from error
        raise
    return max(_rerun(stored, folder, given) for stored in commands)


def _overrides(words: Sequence[str]) -> list[str]:
    """The given overrides, with absolute paths. Raises ConfigError for keys that would make another sweep."""
    arguments = parse_argv(words)
    if arguments.flags:
        raise ConfigError(f"resume does not accept {show(arguments.flags[0])}, only a folder and jobs=N.")
    overrides = validate_overrides(arguments.overrides, sweeps=True)
    for text in overrides:
        if key_of(text) not in FREE_KEYS:
            raise ConfigError(
                f"{show(text)}: a sweep is resumed with the values it was started with; only {', '.join(FREE_KEYS[:-1])} and "
                f"{FREE_KEYS[-1]} can be changed. For other values, run the command of the sweep again with the same name."
            )
    for position, override in enumerate(parse_overrides(overrides)):
        if override.is_sweep_override():
            raise ConfigError(f"{show(overrides[position])}: give {override.key_or_group} one value.")
        if override.key_or_group == "data_dir":
            overrides[position] = f"data_dir={quoted(str(Path(str(override.value())).expanduser().absolute()))}"
    return overrides


def _check_stored(words: list[str], folder: Path) -> None:
    """Raise ConfigError for a stored command that may write outside of the sweep's folder or run other programs.

    Safe are normexp's own keys, since `name` and `runs_dir` are replaced and data sets are only read or downloaded under fixed
    names; the files of --config-dir, which can't name code; numbers and labels of the launcher and the sweeper.
    """
    if words[:1] == ["claims"]:
        refused = _refused_claims(words[1:], folder)
    else:
        arguments = parse_argv(words)
        overrides = validate_overrides(arguments.overrides, arguments.config_dir, sweeps=True)
        refused = next(filter(_is_refused, overrides), None)
    if refused is not None:
        command = shlex.join(["normexp", *(words if words[:1] == ["claims"] else ["train", *words])])
        raise ConfigError(
            f"{show(folder / MANIFEST, max_length=200)} contains {show(refused)}, which resume does not execute: it may "
            f"write elsewhere or run programs. If the command is yours, run it again: {show(command, max_length=1000)}"
        )


def _is_refused(text: str) -> bool:
    """Whether an override of Hydra's is more than a choice by name, a number, or a label such as a Slurm partition."""
    override = parse_overrides([text])[0]
    key, value = override.key_or_group, override.value()
    if not key.startswith(HYDRA_PREFIXES) or isinstance(value, int | float | None):
        return False
    plain = isinstance(value, str) and PLAIN_WORD.fullmatch(value) and override.package is None
    return not (plain and ("/" in key or key in LAUNCHER_LABELS))


def _refused_claims(words: list[str], folder: Path) -> str | None:
    """The refused word of a stored claims command, if any. Its runs and verdicts must lie where the sweep's folder is."""
    from normexp.commands.claims import claims_folder, parse

    options = parse(words)
    if options.verb != "run":
        return " ".join(["claims", *words[:1]])
    if options.html or options.again:
        return "--html" if options.html else "--again"
    if claims_folder(options).resolve() != folder.resolve().parent:
        return next((word for word in options.overrides if word.startswith("runs_dir=")), "runs_dir=runs")
    return None


def _rerun(words: list[str], folder: Path, given: Sequence[str]) -> int:
    """Run one of the sweep's commands again, in the folder where the sweep is now. given: overrides to add."""
    keys = {key_of(text) for text in given}
    if words[:1] == ["claims"]:  # its claims share the sweep
        from normexp.commands.claims import main

        return main([*(word for word in words[1:] if key_of(word) not in keys), *given])
    from normexp.sweeps.run_sweep import run_sweep

    left_out = {"name", "runs_dir", *keys}
    arguments = parse_argv(word for word in words if word.startswith("-") or key_of(word) not in left_out)
    overrides = validate_overrides(arguments.overrides, arguments.config_dir, sweeps=True)
    overrides += [*given, f"name={quoted(folder.name)}", f"runs_dir={quoted(str(folder.parent))}"]
    return run_sweep(overrides, config_dir=arguments.config_dir, arguments=words)
