"""`normexp resume RUN`: a single run, from its newest checkpoint to its end, or beyond it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from normexp import rundir
from normexp.commands.train import exit_code
from normexp.compose.overrides import arrange, check
from normexp.compose.validate import validate
from normexp.config import Config, ConfigError, show, yaml_files
from normexp.data.sizes import sizes
from normexp.models.describe import describe, markdown
from normexp.report.files import load_yaml, read_json, read_status, read_yaml
from normexp.rundir import atomic, lock
from normexp.sweeps.manifest import MANIFEST

LENGTH = ("epochs", "steps")

FREE = ("data_dir", "device", "threads", "checkpoint_every")
"""Keys that may be given another value, since they don't change what the run is."""


def resume_run(directory: Path, words: Sequence[str]) -> int:
    """Go on with the run, with the overrides of `words`; returns the exit code.

    Raises ConfigError where that can't be done, with nothing changed.
    """
    stored, status = read_tree(directory), _status(directory)
    if status["state"] == "skipped":
        raise ConfigError(f"{directory} can't be trained: {status['error']}")
    before = _of_this_version(directory, stored)
    given = _overrides(words)
    tree = {**_data_beside(directory, stored), **_changed(directory, stored, given)}
    config = validate(tree)
    _check_length(directory, config, before)
    total = sizes(config).total_steps
    if status["state"] == "diverged" or (status["state"] == "completed" and status["step"] >= total):
        _say_done(directory, status, extends=bool(given))
        return 0
    with lock.held(directory) as free:
        if not free:
            raise ConfigError(lock.refusal(directory))
        status = _status(directory)
        return _train(
            directory, config, tree, status, {key: tree[key] for key in given if stored.get(key) != tree[key]}
        )


def read_tree(directory: Path) -> dict[str, Any]:
    """The config of a run, as nested mappings. Raises ConfigError where it has none."""
    try:
        return load_yaml(directory / "config.yaml")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is damaged"
        raise ConfigError(
            f"{directory} can't be resumed: its config.yaml can't be read ({reason}). Give the command again that made it."
        ) from error


def _of_this_version(directory: Path, stored: Mapping[str, Any]) -> Config:
    try:
        return validate(stored)
    except ConfigError as error:
        raise ConfigError(
            f"{directory} can't be resumed: its config.yaml was edited, or written by another version of normexp. {error}"
        ) from error


def _overrides(words: Sequence[str]) -> dict[str, Any]:
    """The values that are given, by their keys. A group stands for the name of its choice."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    arguments = arrange(words)
    if arguments.flags:
        raise ConfigError(f"resume takes no {arguments.flags[0]}: a folder, and perhaps epochs=N or steps=N.")
    parsed = OverridesParser.create().parse_overrides(check(arguments))
    given = {override.key_or_group: override.value() for override in parsed}
    for key, value in given.items():
        if "${" in str(value):
            raise ConfigError(f"{key}={show(value)}: here, a value can't refer to another.")
    return given


def _changed(directory: Path, stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given values that differ from the stored ones. ConfigError for those that would make it another run."""
    refused = [key for key, value in given.items() if key not in (*LENGTH, *FREE) and _value(stored, key) != value]
    if refused:
        raise ConfigError(
            f"{', '.join(refused)}: another value makes another run, which normexp train makes; {directory} can go on with more "
            f"epochs or steps, and with another {', '.join(FREE[:-1])} or {FREE[-1]}."
        )
    changed = {key: value for key, value in given.items() if key in (*LENGTH, *FREE)}
    lengths = [key for key in LENGTH if changed.get(key) is not None]
    if len(lengths) == 1:  # the run's length may have been given by the other
        changed |= {key: None for key in LENGTH if key != lengths[0]}
    return changed


def _value(tree: Mapping[str, Any], key: str) -> Any:
    group, _, name = key.partition(".")
    value = tree.get(group)
    if isinstance(value, Mapping):
        return value.get(name or "name")
    return value


def _data_beside(directory: Path, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The stored config, with a data folder that is relative to where the run was started, if that is not here."""
    tree, folder = dict(stored), Path(str(stored.get("data_dir"))).expanduser()
    begun_in = Path(str(read_json(directory / "environment.json").get("directory", ".")))
    if not folder.is_absolute() and begun_in != Path.cwd() and (begun_in / folder).is_dir():
        tree["data_dir"] = str(begun_in / folder)
    return tree


def _check_length(directory: Path, config: Config, before: Config) -> None:
    now, then = sizes(config).total_steps, sizes(before).total_steps
    if now < then:
        raise ConfigError(
            f"{directory} is to make {then} steps ({then / sizes(before).steps_per_epoch:.4g} epochs): it can be given more, "
            f"and {now} steps are less."
        )


def _status(directory: Path) -> dict[str, Any]:
    """What became of the run; `killed` where it has no status, `unknown` where that can't be read."""
    status = read_status(directory)
    if isinstance(status, str):
        state = "unknown" if (directory / "status.json").exists() else "killed"
        return {"state": state, "step": 0, "error": None, "metrics": {}}
    return {**status, "error": show(status["error"], most=300)}


def _say_done(directory: Path, status: Mapping[str, Any], *, extends: bool) -> None:
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
    from normexp.commands.run_summary import closing
    from normexp.sinks.progress_bar import RunConsole
    from normexp.training import checkpoint
    from normexp.training.run import run

    console = RunConsole()
    saved, lines = checkpoint.newest(directory, config)
    if saved is None and status["state"] == "completed":
        raise ConfigError(" ".join([f"{directory} has no checkpoint to go on from.", *lines]))
    if saved is None and status["state"] == "unknown":  # it may have a result
        raise ConfigError(
            f"{directory} has no checkpoint to go on from, and its status.json can't be read: take that file away to have "
            "the run trained from its beginning."
        )
    step, total = saved["step"] if saved else 0, sizes(config).total_steps
    if saved is None:
        begins = f"{directory} has no checkpoint to go on from: it is trained from its beginning."
    else:
        begins = f"{directory} goes on after step {step} of {total}" + (f", from {saved['file']}." if lines else ".")
    longer = saved is not None and bool(changed.keys() & {*LENGTH})
    if longer and config.schedule.name != "constant":
        lines.append(
            f"note: schedule={config.schedule.name} is stretched: from here on, the learning rate is that of a run of "
            f"{total} steps."
        )
    if longer and (directory.absolute().parent / MANIFEST).exists():
        lines.append("note: this run belongs to a sweep, whose command would train it again as it was meant there.")

    def fill(files: Mapping[str, str]) -> Path:
        checkpoint.set_aside(directory, saved)
        if saved is None:
            rundir.clear(directory)
            rundir.fill(directory, files)
        else:
            rundir.refill(directory, files, step)
        path = directory / "train.log"
        with atomic.writing(path), path.open("a", encoding="utf-8", errors="backslashreplace") as log:
            for line in (*lines, begins):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
                log.write(f"{rundir.now()} {line}\n")
        return directory

    result = run(
        config,
        make_directory=fill,
        diff={k: v for k, v in {**_diff(directory, tree), **changed}.items() if k not in LENGTH or tree[k] is not None},
        command=["normexp", "resume", str(directory), *(f"{key}={show(value)}" for key, value in changed.items())],
        console=console,
        texts={"layers": markdown(describe(config))},
        saved=saved,
    )
    closing(result, console)
    return exit_code(result)


def _diff(directory: Path, tree: Mapping[str, Any]) -> dict[str, Any]:
    """What of the config differed from the defaults when the run was begun."""
    try:
        return read_yaml(directory / "config_diff.yaml")
    except (OSError, ValueError):  # it is empty where nothing did
        return {} if (directory / "config_diff.yaml").exists() else yaml_files.differences(tree)
