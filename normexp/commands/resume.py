"""`normexp resume DIR`: resume or extend a run from its newest checkpoint, or run a sweep's command again.

The command is read from the sweep's folder, which may come from someone else: it is run only if it writes nothing outside.
"""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from normexp import rundir
from normexp.compose.compose import quoted
from normexp.compose.overrides import HYDRA_PREFIXES, LAUNCHER_LABELS, parse_argv, parse_overrides, validate_overrides
from normexp.compose.validate import validate
from normexp.config import Config, ConfigError, show, suggest, yaml_files
from normexp.console import print_line
from normexp.data import sizes
from normexp.rundir import atomic, lock
from normexp.rundir.reader import displayable, displayable_json, read_yaml
from normexp.sweeps.manifest import MANIFEST, read_manifest

HELP = """\
usage: normexp resume RUN [epochs=N | steps=N]
  go on with a run from its last checkpoint, as if it had never been stopped;
  one that is completed can be given more epochs or steps, for which a schedule
  that depends on the length is stretched; data_dir, device, threads and
  checkpoint_every can be given, too
usage: normexp resume SWEEP
  go on with a sweep: runs that are done stay, the others go on"""

LENGTH_KEYS = ("epochs", "steps")

FREE_KEYS = ("data_dir", "device", "threads", "checkpoint_every")
"""Keys that may get another value on resume, since they don't change the result."""

PLAIN_WORD = re.compile(r"[\w.:@+-]+")
"""A value without paths, spaces or line breaks."""


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
            return _resume_run(Path(argv[0]).expanduser(), argv[1:])
        raise ConfigError(f"{show(argv[0])} is not the folder of a run or a sweep. normexp runs lists those there are.")
    if argv[1:]:
        raise ConfigError(f"{show(argv[0])} is a sweep, which goes on as it was started: leave {show(argv[1])} out.")
    commands, cwd = manifest.get("arguments", []), manifest.get("cwd")
    readable = all(isinstance(words, list) and all(isinstance(word, str) for word in words) for words in commands)
    if not (commands and readable and isinstance(cwd, str)):
        raise ConfigError(f"{show(folder / MANIFEST)} doesn't say what the sweep was started with.")
    if not Path(cwd).is_dir():
        raise ConfigError(
            f"{show(argv[0])} was started in {cwd}, which is gone; give its command again from where you are."
        )
    rundir.check_name(folder.name)
    os.chdir(cwd)  # paths in the command are relative to it
    for words in commands:
        _check_stored(words, folder)
    return max(_rerun(words, folder) for words in commands)


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


def _resume_run(directory: Path, words: Sequence[str]) -> int:
    """Resume a run with the overrides in words; returns the exit code. Raises ConfigError, with nothing changed, if it can't."""
    stored, status = read_stored_config(directory), _status(directory)
    if status["state"] == "skipped":
        raise ConfigError(f"{directory} can't be trained: {status['error']}")
    try:
        original = sizes(validate(stored))
    except ConfigError as error:
        raise ConfigError(
            f"{directory} can't be resumed: its config.yaml was edited, or written by another version of normexp. {error}"
        ) from error
    given = _overrides(directory, stored, words)
    tree = {**_with_data_dir(directory, stored), **given}
    if (
        sum(given.get(key) is not None for key in LENGTH_KEYS) == 1
    ):  # the stored config may set the length by the other key
        tree |= {key: None for key in LENGTH_KEYS if given.get(key) is None}
    config = validate(tree)
    total = sizes(config).total_steps
    if total < original.total_steps:
        epochs = original.total_steps / original.steps_per_epoch
        raise ConfigError(
            f"{directory} is to make {original.total_steps} steps ({epochs:.4g} epochs): it can be given more, "
            f"and {total} steps are less."
        )
    if status["state"] == "diverged":
        more = " More steps do not change that." if words else ""
        print(f"{directory} diverged ({show(status['error'])}), which is its result.{more}")
        return 0
    if status["state"] == "completed" and status["step"] >= total:
        accuracy = status["metrics"].get("test/accuracy")
        reached = "" if accuracy is None else f", test accuracy {accuracy:.2%}"
        print(
            f"{directory} is completed: {status['step']} steps{reached}. "
            f"normexp resume {shlex.quote(str(directory))} epochs=N goes on to N epochs."
        )
        return 0
    with lock.held(directory) as free:
        if not free:
            raise ConfigError(lock.refusal(directory))
        changed = {key: value for key, value in given.items() if stored.get(key) != value}
        return _train(directory, config, tree, _status(directory)["state"], changed)


def read_stored_config(directory: Path) -> dict[str, Any]:
    """The config of a run, as nested mappings. Raises ConfigError if it can't be read."""
    try:
        return rundir.read_config(directory)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is damaged"
        raise ConfigError(
            f"{directory} can't be resumed: its config.yaml can't be read ({reason}). Give the command again that made it."
        ) from error


def _overrides(directory: Path, stored: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The given values of the keys that may change. Raises ConfigError for those that would change the run's result."""
    arguments = parse_argv(words)
    if arguments.flags:
        raise ConfigError(f"resume takes no {arguments.flags[0]}: a folder, and perhaps epochs=N or steps=N.")
    parsed = parse_overrides(validate_overrides(arguments.overrides))
    given = {override.key_or_group: override.value() for override in parsed}
    for key, value in given.items():
        if "${" in str(value):
            raise ConfigError(f"{key}={show(value)}: here, a value can't refer to another.")
    others = {key: value for key, value in given.items() if key not in (*LENGTH_KEYS, *FREE_KEYS)}
    refused = [key for key, value in others.items() if _value(stored, key) != value]
    if refused:
        raise ConfigError(
            f"{', '.join(refused)}: another value makes another run, which normexp train makes; {directory} can go on with more "
            f"epochs or steps, and with another {', '.join(FREE_KEYS[:-1])} or {FREE_KEYS[-1]}."
        )
    return {key: value for key, value in given.items() if key not in others}


def _value(tree: Mapping[str, Any], key: str) -> Any:
    """A key's value, such as that of norm.eps. That of a group is the name of its choice."""
    group, _, name = key.partition(".")
    value = tree.get(group)
    return value.get(name or "name") if isinstance(value, Mapping) else value


def _with_data_dir(directory: Path, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The stored config, its data_dir resolved against the folder that the run was started in, if that is another one."""
    tree, folder = dict(stored), Path(str(stored.get("data_dir"))).expanduser()
    started_in = Path(str(displayable_json(directory / "environment.json").get("directory", ".")))
    with suppress(OSError):  # a path that is too long, say
        if not folder.is_absolute() and started_in != Path.cwd() and (started_in / folder).is_dir():
            tree["data_dir"] = str(started_in / folder)
    return tree


def _status(directory: Path) -> dict[str, Any]:
    """The run's status; its state is `killed` if there is no status.json, and `unknown` if it can't be read."""
    try:
        status = rundir.read_status(directory)
    except (OSError, ValueError):
        state = "unknown" if (directory / "status.json").exists() else "killed"
        return {"state": state, "step": 0, "error": None, "metrics": {}}
    return {**status, "error": show(status["error"], max_length=300)}


def _train(directory: Path, config: Config, tree: Mapping[str, Any], state: str, changed: Mapping[str, Any]) -> int:
    """state: that of the run before. changed: the given values that differ from the stored ones."""
    from normexp.commands.run_summary import print_summary
    from normexp.sinks.progress_bar import RunConsole
    from normexp.training import checkpoint
    from normexp.training.run import run

    console, total = RunConsole(), sizes(config).total_steps
    saved, lines = checkpoint.newest(directory, config)
    if saved is None:
        begins = f"{directory} has no checkpoint to go on from"
        if state == "completed":
            raise ConfigError(" ".join([f"{begins}.", *lines]))
        if state == "unknown":  # the run may have a result
            raise ConfigError(
                f"{begins}, and its status.json can't be read: take that file away to have the run trained from its beginning."
            )
        lines.append(f"{begins}: it is trained from its beginning.")
    else:
        begins = f"{directory} goes on after step {saved['step']} of {total}"
        begins += f", from {saved['file']}." if lines else "."
        if changed.keys() & {*LENGTH_KEYS}:
            if config.schedule.name != "constant":
                lines.append(
                    f"note: schedule={config.schedule.name} is stretched: from here on, the learning rate is that of a run of "
                    f"{total} steps."
                )
            if (directory.absolute().parent / MANIFEST).exists():
                lines.append(
                    "note: this run belongs to a sweep, whose command would train it again as it was meant there."
                )
        lines.append(begins)

    def fill(files: Mapping[str, str]) -> Path:
        checkpoint.set_aside(directory, saved)
        if saved is None:
            rundir.remove_outputs(directory)
            rundir.write_run_files(directory, files)
        else:
            rundir.write_resumed_files(directory, files, saved["step"])
        path = directory / "train.log"
        with atomic.writing(path), path.open("a", encoding="utf-8", errors="backslashreplace") as log:
            for line in lines:
                print_line(console, line)
                log.write(f"{rundir.now()} {line}\n")
        return directory

    diff = {**_diff(directory, tree), **changed}
    result = run(
        config,
        make_directory=fill,
        diff={key: value for key, value in diff.items() if key not in LENGTH_KEYS or tree[key] is not None},
        command=["normexp", "resume", str(directory), *(f"{key}={show(value)}" for key, value in changed.items())],
        console=console,
        saved=saved,
    )
    return print_summary(result, console)


def _diff(directory: Path, tree: Mapping[str, Any]) -> dict[str, Any]:
    """The config's differences from the defaults when the run was started."""
    try:
        diff: dict[str, Any] = displayable(read_yaml(directory / "config_diff.yaml"))
        return diff
    except (OSError, ValueError):  # an empty file means that nothing differed
        return {} if (directory / "config_diff.yaml").exists() else yaml_files.differences(tree)
