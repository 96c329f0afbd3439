"""`normexp resume DIR`: a run from its last checkpoint, or the command that made a sweep, once more.

The command is in the sweep's folder, which somebody else may have written: it is run only if it writes nothing outside.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TypeGuard

from normexp.compose.overrides import HYDRAS, arrange, check
from normexp.config import ConfigError, nearest, show
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
    """Go on with the run or the sweep. Raises ConfigError where there is none."""
    if {"-h", "--help"} & set(argv):
        print(HELP)
        return 0
    if not argv or argv[0].startswith("-"):
        raise ConfigError("resume takes the folder of a run or a sweep first: normexp resume runs/NAME.")
    folder = Path(argv[0]).expanduser().absolute()
    if not folder.is_dir():
        raise ConfigError(f"{show(argv[0])}: there is no such folder.{_hint(argv[0], folder)}")
    manifest = read_manifest(folder)
    if manifest is None:
        if any((folder / name).exists() for name in ("config.yaml", "status.json")):
            from normexp.commands.resume_run import resume_run

            return resume_run(Path(argv[0]).expanduser(), argv[1:])
        raise ConfigError(f"{show(argv[0])} is not the folder of a run or a sweep. normexp runs lists those there are.")
    if argv[1:]:
        raise ConfigError(f"{show(argv[0])} is a sweep, which goes on as it was started: leave {show(argv[1])} out.")
    commands, cwd = manifest.get("arguments"), manifest.get("cwd")
    if not (_is_commands(commands) and isinstance(cwd, str)):
        raise ConfigError(f"{show(folder / MANIFEST)} doesn't say what the sweep was started with.")
    if not Path(cwd).is_dir():
        raise ConfigError(
            f"{show(argv[0])} was started in {cwd}, which is gone; give its command again from where you are."
        )
    check_name(folder.name)
    os.chdir(cwd)  # what its paths are relative to
    for words in commands:
        _check_stored(words, folder)
    return max(_claims(words) if words[:1] == ["claims"] else _again(words, folder) for words in commands)


WORD = re.compile(r"[\w.:@+-]+")
"""A value without a path, a space or a line of its own."""


def _check_stored(words: list[str], folder: Path) -> None:
    """ConfigError for a stored command that may write outside of the sweep's folder or run other programs.

    Safe are: keys of normexp's own, since `name` and `runs_dir` are replaced and data sets are only read, or downloaded under
    names of their own; the files of --config-dir, which name no code; the launcher's and the sweeper's numbers and labels.
    """
    if words[:1] == ["claims"]:
        refused = _refused_claims(words[1:], folder)
    else:
        refused = next(filter(_is_refused, check(arrange(words), sweeps=True)), None)
    if refused is not None:
        command = shlex.join(["normexp", *(words if words[:1] == ["claims"] else ["train", *words])])
        raise ConfigError(
            f"{show(folder / MANIFEST, most=200)} has {show(refused)}, which resume does not repeat: it may write elsewhere or "
            f"run programs. If the command is yours, give it again: {show(command, most=1000)}."
        )


def _is_refused(text: str) -> bool:
    """Whether an override of Hydra's is anything but a choice by name, a number or a label of Slurm's, such as a partition."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from normexp.compose.loader import LABELS

    override = OverridesParser.create().parse_override(text)
    key, value = override.key_or_group, override.value()
    if not key.startswith(HYDRAS) or isinstance(value, int | float | None):
        return False
    plain = isinstance(value, str) and WORD.fullmatch(value) and override.package is None
    return not (plain and ("/" in key or key in LABELS))


def _refused_claims(words: list[str], folder: Path) -> str | None:
    """The word of a command of claims that is refused. Its runs and verdicts must be where the sweep's folder is."""
    from normexp.commands.claims import claims_folder, parse

    options = parse(words)
    if options.verb != "run":
        return " ".join(["claims", *words[:1]])
    if options.html or options.again:
        return "--html" if options.html else "--again"
    if claims_folder(options).resolve() != folder.resolve().parent:
        return next((word for word in options.overrides if word.startswith("runs_dir=")), "runs_dir=runs")
    return None


def _hint(word: str, folder: Path) -> str:
    inside = Path("runs") / word
    if inside.is_dir():
        return f" Did you mean {inside}?"
    if folder.is_file():
        return f" Did you mean {Path(word).parent}?"
    beside = [path.name for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
    return nearest(folder.name, beside) or " normexp runs lists those there are."


def _again(words: list[str], folder: Path) -> int:
    """Give one of the sweep's commands again, for the place where its folder is now."""
    from normexp.compose.compose import quoted
    from normexp.sweeps.plan import sweep

    arguments = arrange(word for word in words if not word.startswith(("name=", "runs_dir=")))
    here = [f"name={quoted(folder.name)}", f"runs_dir={quoted(str(folder.parent))}"]
    return sweep([*check(arguments, sweeps=True), *here], config_dir=arguments.config_dir, arguments=words)


def _claims(words: list[str]) -> int:
    """Runs of claims lie in a sweep that they share: the command that makes verdicts of them goes on with it."""
    from normexp.commands.claims import main as claims

    return claims(words[1:])


def _is_commands(value: object) -> TypeGuard[list[list[str]]]:
    return isinstance(value, list) and len(value) > 0 and all(map(_is_words, value))


def _is_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)
