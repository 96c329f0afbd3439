"""`normexp resume RUN`: train a run from its newest checkpoint to its end, or extend it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from normexp import rundir
from normexp.compose.overrides import parse_argv, parse_overrides, validate_overrides
from normexp.compose.validate import validate
from normexp.config import Config, ConfigError, show, yaml_files
from normexp.console import print_line
from normexp.data.sizes import sizes
from normexp.rundir import atomic, lock
from normexp.rundir.reader import displayable, displayable_json, read_yaml
from normexp.sweeps.manifest import MANIFEST

LENGTH_KEYS = ("epochs", "steps")

FREE_KEYS = ("data_dir", "device", "threads", "checkpoint_every")
"""Keys that may get another value on resume, since they don't change the result."""


def resume_run(directory: Path, words: Sequence[str]) -> int:
    """Resume a run with the overrides in words; returns the exit code.

    Raises ConfigError, with nothing changed, if the run can't be resumed.
    """
    stored, status = read_stored_config(directory), _status(directory)
    if status["state"] == "skipped":
        raise ConfigError(f"{directory} can't be trained: {status['error']}")
    original = _validate_stored(directory, stored)
    given = _overrides(words)
    tree = {**_with_data_dir(directory, stored), **_changed(directory, stored, given)}
    config = validate(tree)
    _check_length(directory, config, original)
    total = sizes(config).total_steps
    if status["state"] == "diverged" or (status["state"] == "completed" and status["step"] >= total):
        _print_finished(directory, status, extends=bool(given))
        return 0
    with lock.held(directory) as free:
        if not free:
            raise ConfigError(lock.refusal(directory))
        status = _status(directory)
        changed = {key: tree[key] for key in given if stored.get(key) != tree[key]}
        return _train(directory, config, tree, status, changed)


def read_stored_config(directory: Path) -> dict[str, Any]:
    """The config of a run, as nested mappings. Raises ConfigError if it can't be read."""
    try:
        return rundir.read_config(directory)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is damaged"
        raise ConfigError(
            f"{directory} can't be resumed: its config.yaml can't be read ({reason}). Give the command again that made it."
        ) from error


def _validate_stored(directory: Path, stored: Mapping[str, Any]) -> Config:
    try:
        return validate(stored)
    except ConfigError as error:
        raise ConfigError(
            f"{directory} can't be resumed: its config.yaml was edited, or written by another version of normexp. {error}"
        ) from error


def _overrides(words: Sequence[str]) -> dict[str, Any]:
    """The given values by key. The value of a group is the name of its choice."""
    arguments = parse_argv(words)
    if arguments.flags:
        raise ConfigError(f"resume takes no {arguments.flags[0]}: a folder, and perhaps epochs=N or steps=N.")
    parsed = parse_overrides(validate_overrides(arguments.overrides))
    given = {override.key_or_group: override.value() for override in parsed}
    for key, value in given.items():
        if "${" in str(value):
            raise ConfigError(f"{key}={show(value)}: here, a value can't refer to another.")
    return given


def _changed(directory: Path, stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given values that differ from the stored ones. Raises ConfigError for keys that would change the run's result."""
    refused = [
        key for key, value in given.items() if key not in (*LENGTH_KEYS, *FREE_KEYS) and _value(stored, key) != value
    ]
    if refused:
        raise ConfigError(
            f"{', '.join(refused)}: another value makes another run, which normexp train makes; {directory} can go on with more "
            f"epochs or steps, and with another {', '.join(FREE_KEYS[:-1])} or {FREE_KEYS[-1]}."
        )
    changed = {key: value for key, value in given.items() if key in (*LENGTH_KEYS, *FREE_KEYS)}
    lengths = [key for key in LENGTH_KEYS if changed.get(key) is not None]
    if len(lengths) == 1:  # the stored config may set the length by the other key
        changed |= {key: None for key in LENGTH_KEYS if key != lengths[0]}
    return changed


def _value(tree: Mapping[str, Any], key: str) -> Any:
    group, _, name = key.partition(".")
    value = tree.get(group)
    if isinstance(value, Mapping):
        return value.get(name or "name")
    return value


def _with_data_dir(directory: Path, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The stored config, its data_dir resolved against the folder that the run was started in, if that is another one."""
    tree, folder = dict(stored), Path(str(stored.get("data_dir"))).expanduser()
    started_in = Path(str(displayable_json(directory / "environment.json").get("directory", ".")))
    with suppress(OSError):  # a path that is too long, say
        if not folder.is_absolute() and started_in != Path.cwd() and (started_in / folder).is_dir():
            tree["data_dir"] = str(started_in / folder)
    return tree


def _check_length(directory: Path, config: Config, original: Config) -> None:
    """Raise ConfigError if the run would get shorter."""
    now, then = sizes(config).total_steps, sizes(original).total_steps
    if now < then:
        raise ConfigError(
            f"{directory} is to make {then} steps ({then / sizes(original).steps_per_epoch:.4g} epochs): it can be given more, "
            f"and {now} steps are less."
        )


def _status(directory: Path) -> dict[str, Any]:
    """The run's status; its state is `killed` if there is no status.json, and `unknown` if it can't be read."""
    try:
        status = rundir.read_status(directory)
    except (OSError, ValueError):
        state = "unknown" if (directory / "status.json").exists() else "killed"
        return {"state": state, "step": 0, "error": None, "metrics": {}}
    return {**status, "error": show(status["error"], max_length=300)}


def _print_finished(directory: Path, status: Mapping[str, Any], *, extends: bool) -> None:
    if status["state"] == "diverged":
        more = " More steps do not change that." if extends else ""
        print(f"{directory} diverged ({show(status['error'])}), which is its result.{more}")
        return
    accuracy = status["metrics"].get("test/accuracy")
    reached = "" if accuracy is None else f", test accuracy {accuracy:.2%}"
    print(
        f"{directory} is completed: {status['step']} steps{reached}. "
        f"normexp resume {shlex.quote(str(directory))} epochs=N goes on to N epochs."
    )


def _train(
    directory: Path, config: Config, tree: Mapping[str, Any], status: Mapping[str, Any], changed: Mapping[str, Any]
) -> int:
    from normexp.commands.run_summary import exit_code, print_summary
    from normexp.sinks.progress_bar import RunConsole
    from normexp.training import checkpoint
    from normexp.training.run import run

    console = RunConsole()
    saved, lines = checkpoint.newest(directory, config)
    if saved is None and status["state"] == "completed":
        raise ConfigError(" ".join([f"{directory} has no checkpoint to go on from.", *lines]))
    if saved is None and status["state"] == "unknown":  # the run may have a result
        raise ConfigError(
            f"{directory} has no checkpoint to go on from, and its status.json can't be read: take that file away to have "
            "the run trained from its beginning."
        )
    if saved is None:
        begins = f"{directory} has no checkpoint to go on from: it is trained from its beginning."
    else:
        source = f", from {saved['file']}." if lines else "."
        begins = f"{directory} goes on after step {saved['step']} of {sizes(config).total_steps}{source}"
        if changed.keys() & {*LENGTH_KEYS}:
            lines += _notes_on_extending(directory, config)

    def fill(files: Mapping[str, str]) -> Path:
        checkpoint.set_aside(directory, saved)
        if saved is None:
            rundir.remove_outputs(directory)
            rundir.write_run_files(directory, files)
        else:
            rundir.write_resumed_files(directory, files, saved["step"])
        path = directory / "train.log"
        with atomic.writing(path), path.open("a", encoding="utf-8", errors="backslashreplace") as log:
            for line in (*lines, begins):
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
    print_summary(result, console)
    return exit_code(result)


def _notes_on_extending(directory: Path, config: Config) -> list[str]:
    notes = []
    if config.schedule.name != "constant":
        notes.append(
            f"note: schedule={config.schedule.name} is stretched: from here on, the learning rate is that of a run of "
            f"{sizes(config).total_steps} steps."
        )
    if (directory.absolute().parent / MANIFEST).exists():
        notes.append("note: this run belongs to a sweep, whose command would train it again as it was meant there.")
    return notes


def _diff(directory: Path, tree: Mapping[str, Any]) -> dict[str, Any]:
    """The config's differences from the defaults when the run was started."""
    try:
        diff: dict[str, Any] = displayable(read_yaml(directory / "config_diff.yaml"))
        return diff
    except (OSError, ValueError):  # an empty file means that nothing differed
        return {} if (directory / "config_diff.yaml").exists() else yaml_files.differences(tree)
