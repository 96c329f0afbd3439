"""`--dry-run`: print what a run or a sweep would train and about how long that takes. Writes nothing."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console

from normexp import rundir
from normexp.compose.compose import Combination, compose_tree
from normexp.compose.validate import validate
from normexp.config import RESULT_INDEPENDENT_KEYS, Config, ConfigError, as_tree, flatten, show, yaml_files
from normexp.console import print_labelled, print_line, print_message, short_path
from normexp.data import sizes
from normexp.plotting.labels import evenly_spaced
from normexp.sweeps import optuna_study
from normexp.sweeps.plan import Plan, plan_sweep
from normexp.sweeps.progress import format_duration
from normexp.sweeps.survey import Survey, header, survey

NO_EFFECT_ON_TIME = {
    *("seed", "lr", "lr_batch", "epochs", "steps", "grad_clip", "norm.eps", "norm.momentum", "data.val_size"),
    *("data.verify", "optim.weight_decay", "optim.momentum", *RESULT_INDEPENDENT_KEYS),
}
"""Keys that don't change the duration of a step, together with those of init and schedule."""

MAX_TIMED = 12
"""Different networks that are timed, about two seconds each. The others count with the mean of these."""

Kind = tuple[tuple[str, str], ...]


def preview(overrides: list[str], config_dir: Path | None, console: Console, *, sweep: bool) -> None:
    """Print the preview of a run or of a sweep. Raises ConfigError if it can't be trained."""
    if sweep:
        _preview_sweep(overrides, config_dir, console)
    else:
        tree = compose_tree(overrides, config_dir)
        _preview_run(validate(tree), tree, console)
    print_labelled(console, "dry run", "nothing was written", width=15)


def _preview_sweep(overrides: list[str], config_dir: Path | None, console: Console) -> None:
    """Print the header of a sweep, what would happen to each run, and the estimated time."""
    plan = plan_sweep(overrides, config_dir, console, load_data=False)
    if plan.grid is None:
        ended = optuna_study.count_trials(plan)
        print_message(
            console,
            f"sweep {short_path(plan.folder)}: {plan.trials} trials, {ended} done already, {plan.jobs} at a time",
        )
        print_line(console, "The optimizer chooses their values while they run.")
        return
    found = survey(plan)
    for line in header(plan, found):
        print_message(console, line)
    console.print()
    width = max(map(len, plan.labels.values()))
    actions = dict(_actions(plan, found))
    for run in plan.grid:
        print_line(console, f"{plan.labels[run.name]:<{width}}  {actions[run.name]}")
    console.print()
    if found.left:
        with console.status("timing a few steps"):
            duration = _total_time(plan, found)
        print_labelled(console, "time", duration, width=15)


def _preview_run(config: Config, tree: Mapping[str, Any], console: Console) -> None:
    """Print the differences from the default config, the steps and the estimated time of a run."""
    diff, split = flatten(yaml_files.differences(tree)), sizes(config)
    for key, value in diff.items():
        print_labelled(console, key, show(value), width=max(15, *(len(name) + 2 for name in diff)))
    if not diff:
        print_labelled(console, "config", "the defaults", width=15)
    epochs = f"{split.total_steps / split.steps_per_epoch:.4g} epochs of {split.steps_per_epoch} steps"
    print_labelled(console, "steps", f"{split.total_steps} ({epochs})", width=15)
    with console.status("timing a few steps"):
        seconds = _timed(config)
    print_labelled(console, "time", f"about {format_duration(seconds)} (from a few timed steps)", width=15)


def _actions(plan: Plan, found: Survey) -> Iterator[tuple[str, str]]:
    """The name of each run and what would happen to it."""
    for reason, runs in found.skipped.items():
        yield from ((run.name, f"skipped: {show(reason)}") for run in runs)
    yield from ((run.name, "done") for run in found.done)
    yield from ((run.name, "on Slurm") for run in found.queued)
    for run in found.left:
        total, step = _steps(run), _steps_done(plan.folder / run.name)
        if run.name in found.replaced:
            yield run.name, f"trained again: {total} steps"
        elif run.name in found.locked:
            yield run.name, "running in another process"
        elif run.name in found.resumed:
            yield run.name, f"resumed after step {step} of {total}"
        else:
            yield run.name, f"trained: {total} steps"


def _steps(run: Combination) -> int:
    assert run.config is not None
    return sizes(run.config).total_steps


def _steps_done(directory: Path) -> int:
    try:
        return int(rundir.read_status(directory)["step"])
    except (OSError, ValueError):
        return 0


def _total_time(plan: Plan, found: Survey) -> str:
    """The estimated time of the runs that are left, in words: from finished runs of the same kind, or from timed steps."""
    measured = _measured(plan, found)
    configs = {_kind(run.config): run.config for run in found.left if run.config and _kind(run.config) not in measured}
    threads = 1 if plan.local and plan.jobs > 1 else None
    timed = {
        kind: _timed(dataclasses.replace(config, threads=config.threads or threads)) / sizes(config).total_steps
        for kind, config in evenly_spaced(list(configs.items()), MAX_TIMED)
    }
    per_step = {**measured, **timed}
    seconds = 0.0
    for run in found.left:
        assert run.config is not None
        steps = _steps(run) - (_steps_done(plan.folder / run.name) if run.name in found.resumed else 0)
        seconds += steps * per_step.get(_kind(run.config), fmean(per_step.values()))
    used = {_kind(run.config) for run in found.left if run.config} & measured.keys()
    sources = ["finished runs of this sweep"] * bool(used) + ["a few timed steps"] * bool(timed)
    at_once = min(plan.jobs, len(found.left)) if plan.local else 1
    how = f"{at_once} at a time" if plan.local else "in total, before dividing by the jobs that run at a time"
    return f"about {format_duration(seconds / at_once)}, {how} (from {' and '.join(sources)})"


def _measured(plan: Plan, found: Survey) -> dict[Kind, float]:
    """Mean seconds per step of the finished runs, by kind."""
    seconds: dict[Kind, list[float]] = {}
    for run in found.done:
        status = rundir.read_status(plan.folder / run.name)
        if run.config is not None and status["state"] == "completed" and status["step"]:
            seconds.setdefault(_kind(run.config), []).append(status["seconds"] / status["step"])
    return {kind: fmean(values) for kind, values in seconds.items()}


def _kind(config: Config) -> Kind:
    """The settings that determine the duration of a step."""
    flat = flatten(as_tree(config))
    return tuple(
        (key, show(value, 1000))
        for key, value in flat.items()
        if key not in NO_EFFECT_ON_TIME and key.partition(".")[0] not in ("init", "schedule")
    )


def _timed(config: Config) -> float:
    """Seconds of a run, from timed steps. Raises ConfigError if they can't be made."""
    from normexp.training.timing import estimate_seconds

    try:
        return estimate_seconds(config)
    except ConfigError:
        raise
    except (RuntimeError, MemoryError) as error:  # out of memory, say
        reason = show((str(error).splitlines() or [type(error).__name__])[0], 200)
        raise ConfigError(f"The steps could not be timed: {reason}") from error
