"""`normexp resume RUN`: resume or extend a run from its newest checkpoint."""

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from normexp import rundir
from normexp.compose.argv import parse_argv
from normexp.compose.overrides import parse_overrides, validate_overrides
from normexp.compose.validate import check_tracker, validate
from normexp.config import LENGTH_KEYS, Config, ConfigError, show, yaml_files
from normexp.console import print_line
from normexp.data import sizes
from normexp.data.paths import DataFilesError, MissingDataError
from normexp.metrics import format_metric
from normexp.rundir import atomic, lock
from normexp.rundir.environment import missing_package
from normexp.rundir.reader import displayable, displayable_json, read_yaml
from normexp.sweeps.manifest import MANIFEST

FREE_KEYS = ("data_dir", "data.verify", "data.path", "device", "threads", "checkpoint_every", "tracker")
"""Keys that may get another value on resume, since they don't change the result."""


def resume_run(directory: Path, words: Sequence[str]) -> int:
    """Resume a run with the overrides in words; returns the exit code. Raises ConfigError, with nothing changed, if it can't."""
    stored, status = read_stored_config(directory), _status(directory)
    if status["state"] == "skipped":
        raise ConfigError(f"{directory} can't be trained: {status['error']}")
    given = _overrides(directory, stored, words)
    here = with_paths(directory, stored, {key: value for key, value in given.items() if key.startswith("data.")})
    try:
        original = sizes(validate(here))
    except DataFilesError as error:
        hint = " If it was moved, add data.path=... to the command." if isinstance(error, MissingDataError) else ""
        raise ConfigError(f"{directory} can't be resumed: {error}{hint}") from error
    except ConfigError as error:
        raise ConfigError(
            f"{directory} can't be resumed: its config.yaml was edited or written by another version of normexp. {error}"
        ) from error
    tree = {**here, **{key: value for key, value in given.items() if not key.startswith("data.")}}
    if sum(given.get(key) is not None for key in LENGTH_KEYS) == 1:  # the stored config may set the other one
        tree |= {key: None for key in LENGTH_KEYS if given.get(key) is None}
    config = validate(tree)
    total = sizes(config).total_steps
    if total < original.total_steps:
        epochs = original.total_steps / original.steps_per_epoch
        raise ConfigError(
            f"{directory} has {original.total_steps} steps ({epochs:.4g} epochs): resume can extend it, but not shorten it "
            f"to {total} steps."
        )
    if status["state"] == "diverged":
        more = " More steps would not change that." if words else ""
        print(f"{directory} diverged ({show(status['error'])}). This is a result, so it is not resumed.{more}")
        return 0
    if status["state"] == "completed" and status["step"] >= total:
        accuracy = status["metrics"].get("test/accuracy")
        reached = "" if accuracy is None else f", test accuracy {format_metric(accuracy, 'accuracy')}"
        command = f"normexp resume {shlex.quote(str(directory))} epochs=N"
        print(f"{directory} is completed: {status['step']} steps{reached}. To extend it: {command}")
        return 0
    check_tracker(config.tracker)
    with lock.held(directory) as free:
        if not free:
            raise ConfigError(lock.refusal(directory))
        changed = {key: value for key, value in given.items() if _value(stored, key) != value}
        return _train(directory, config, tree, _status(directory)["state"], changed)


def read_stored_config(directory: Path) -> dict[str, Any]:
    """The config of a run, as nested mappings. Raises ConfigError if it can't be read."""
    try:
        return rundir.read_config(directory)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "damaged file"
        raise ConfigError(
            f"{directory} can't be resumed: its config.yaml can't be read ({reason}). Run its command again."
        ) from error


def _overrides(directory: Path, stored: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The given values of the keys that may change. Raises ConfigError for those that would change the run's result."""
    arguments = parse_argv(words)
    if arguments.flags:
        raise ConfigError(f"resume does not accept {show(arguments.flags[0])}, only a folder and epochs=N or steps=N.")
    parsed = parse_overrides(validate_overrides(arguments.overrides, sweeps=True))
    for override in parsed:
        if override.is_sweep_override():
            raise ConfigError(f"{show(override.input_line)}: a run is resumed with one value.")
    given = {override.key_or_group: override.value() for override in parsed}
    for key, value in given.items():
        if "${" in str(value):
            raise ConfigError(f"{key}={show(value)}: on resume, a value can't refer to another key.")
    others = {key: value for key, value in given.items() if key not in (*LENGTH_KEYS, *FREE_KEYS)}
    refused = [key for key, value in others.items() if _value(stored, key) != value]
    if refused:
        raise ConfigError(
            f"{', '.join(refused)}: can't be changed on resume, since the result would change; train a new run instead. "
            f"Only {', '.join([*LENGTH_KEYS, *FREE_KEYS[:-1]])} and {FREE_KEYS[-1]} can be changed."
        )
    return {key: value for key, value in given.items() if key not in others}


def _value(tree: Mapping[str, Any], key: str) -> Any:
    """A key's value, such as that of norm.eps. That of a group is the name of its choice."""
    group, _, name = key.partition(".")
    value = tree.get(group)
    return value.get(name or "name") if isinstance(value, Mapping) else value


def with_paths(directory: Path, stored: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """The stored config, its data_dir and data.path resolved against the folder that the run was started in, if that is another
    one. data: given values of keys such as data.path. Raises ConfigError for a run of normexp.watch, and for one that needs a
    package that is not installed."""
    if isinstance(probe := stored.get("probe"), Mapping) and probe.get("name") == "watch":
        raise ConfigError(
            f"{show(directory, 300)} was recorded by normexp.watch, which saves no network: it can't be resumed or evaluated."
        )
    if missing := missing_package(directory):
        raise ConfigError(f"{show(directory, 300)} can't be used: {missing}")
    tree = dict(stored)
    started_in = Path(str(displayable_json(directory / "environment.json").get("directory", ".")))

    def resolved(path: object) -> object:
        with suppress(OSError):  # a path that is too long, say
            folder = Path(str(path)).expanduser()
            if not folder.is_absolute() and started_in != Path.cwd() and (started_in / folder).exists():
                return str(started_in / folder)
        return path

    tree["data_dir"] = resolved(stored.get("data_dir"))
    if isinstance(group := stored.get("data"), Mapping):
        paths = {"path": resolved(group["path"])} if group.get("path") is not None else {}
        tree["data"] = {**group, **paths, **{key.partition(".")[2]: value for key, value in data.items()}}
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
        begins = f"{directory} has no usable checkpoint"
        if state == "completed":
            raise ConfigError(" ".join([f"{begins}.", *lines]))
        if state == "unknown":  # the run may have a result
            raise ConfigError(f"{begins}, and its status.json can't be read: delete that file to train from scratch.")
        lines.append(f"{begins}: training from scratch")
    else:
        begins = f"resuming {directory} after step {saved['step']} of {total}"
        begins += f", from {saved['file']}" if lines else ""
        if changed.keys() & {*LENGTH_KEYS}:
            if config.schedule.name != "constant":
                lines.append(
                    f"note: schedule={config.schedule.name} is stretched: from here on, the learning rate follows the "
                    f"schedule of a run of {total} steps"
                )
            if (directory.absolute().parent / MANIFEST).exists():
                lines.append(
                    "note: this run belongs to a sweep; resuming the sweep would train it again with the sweep's length"
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
