"""`normexp resume DIR`: resume a run from its last checkpoint, or run a sweep's command again.

The command is read from the sweep's folder, which may come from someone else: it is run only if it writes nothing outside.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TypeGuard

from normexp.compose.compose import quoted
from normexp.compose.overrides import HYDRA_PREFIXES, LAUNCHER_LABELS, parse_argv, parse_overrides, validate_overrides
from normexp.config import ConfigError, show, suggest
from normexp.rundir import check_name
from normexp.sweeps.manifest import MANIFEST, read_manifest

HELP = """\
usage: normexp resume RUN [epochs=N | steps=N]
  go on with a run from its last checkpoint, as if it had never been stopped;
  one that is completed can be given more epochs or steps, for which a schedule
  that depends on the length is stretched; data_dir, device, threads and
  checkpoint_every can be given, too
usage: normexp resume SWEEP
  go on with a sweep: runs that are done stay, the others go on"""


def main(argv: list[str]) -> int:
    """Resume the run or the sweep; returns the exit code. Raises ConfigError if the folder is neither."""
    if not argv or argv[0].startswith("-"):
        raise ConfigError("resume takes the folder of a run or a sweep first: normexp resume runs/NAME.")
    folder = Path(argv[0]).expanduser().absolute()
    if not folder.is_dir():
        raise ConfigError(f"{show(argv[0])}: there is no such folder.{_suggest_folder(argv[0], folder)}")
    manifest = read_manifest(folder)
    if manifest is None:
        if any((folder / name).exists() for name in ("config.yaml", "status.json")):
            from normexp.commands.resume_run import resume_run

            return resume_run(Path(argv[0]).expanduser(), argv[1:])
        raise ConfigError(f"{show(argv[0])} is not the folder of a run or a sweep. normexp runs lists those there are.")
    if argv[1:]:
        raise ConfigError(f"{show(argv[0])} is a sweep, which goes on as it was started: leave {show(argv[1])} out.")
    commands, cwd = manifest.get("arguments"), manifest.get("cwd")
    if not (_is_list_of_commands(commands) and isinstance(cwd, str)):
        raise ConfigError(f"{show(folder / MANIFEST)} doesn't say what the sweep was started with.")
    if not Path(cwd).is_dir():
        raise ConfigError(
            f"{show(argv[0])} was started in {cwd}, which is gone; give its command again from where you are."
        )
    check_name(folder.name)
    os.chdir(cwd)  # paths in the command are relative to it
    for words in commands:
        _check_stored(words, folder)
    return max(_rerun(words, folder) for words in commands)


PLAIN_WORD = re.compile(r"[\w.:@+-]+")
"""A value without paths, spaces or line breaks."""


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
            f"{show(folder / MANIFEST, max_length=200)} has {show(refused)}, which resume does not repeat: it may write "
            f"elsewhere or run programs. If the command is yours, give it again: {show(command, max_length=1000)}."
        )


def _is_refused(text: str) -> bool:
    """Whether an override of Hydra's is more than a choice by name, a number, or a label such as a Slurm partition."""
    (override,) = parse_overrides([text])
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


def _suggest_folder(word: str, folder: Path) -> str:
    inside = Path("runs") / word
    if inside.is_dir():
        return f" Did you mean {inside}?"
    if folder.is_file():
        return f" Did you mean {Path(word).parent}?"
    siblings = [path.name for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
    return suggest(folder.name, siblings) or " normexp runs lists those there are."


def _rerun(words: list[str], folder: Path) -> int:
    """Run one of the sweep's commands again, with its folder where it is now."""
    if words[:1] == ["claims"]:  # its claims share the sweep
        from normexp.commands.claims import main

        return main(words[1:])
    from normexp.sweeps.run_sweep import run_sweep

    arguments = parse_argv(word for word in words if not word.startswith(("name=", "runs_dir=")))
    overrides = validate_overrides(arguments.overrides, arguments.config_dir, sweeps=True)
    overrides += [f"name={quoted(folder.name)}", f"runs_dir={quoted(str(folder.parent))}"]
    return run_sweep(overrides, config_dir=arguments.config_dir, arguments=words)


def _is_list_of_commands(value: object) -> TypeGuard[list[list[str]]]:
    """Whether a value is a non-empty list of lists of strings."""
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(words, list) and all(isinstance(word, str) for word in words) for words in value)
    )
