"""`--dry-run`: print what a run or a sweep would train and about how long that takes. Writes nothing."""

import heapq
import math
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console

from normexp import rundir
from normexp.compose.compose import compose_tree
from normexp.compose.validate import validate
from normexp.config import RESULT_INDEPENDENT_KEYS, Config, ConfigError, as_tree, flatten, show
from normexp.console import print_labelled, print_line, print_message, short_path
from normexp.data import class_names, info, sizes
from normexp.models.describe import describe
from normexp.plotting.labels import evenly_spaced
from normexp.sweeps import gpus, optuna_study
from normexp.sweeps.plan import Plan, plan_sweep
from normexp.sweeps.progress import format_duration
from normexp.sweeps.survey import Survey, header, note_other_runs, survey

NO_EFFECT_ON_TIME = {
    *("init", "schedule", "seed", "lr", "lr_batch", "grad_clip", "norm.eps", "norm.momentum", "data.verify"),
    *("optim.weight_decay", "optim.decay_norm", "optim.momentum", *RESULT_INDEPENDENT_KEYS),
}
"""Keys and groups that don't change the duration of a run."""

MAX_TIMED = 12
"""Different networks that are timed, about two seconds each. The others count with the mean of these."""


def preview(overrides: list[str], config_dir: Path | None, console: Console, *, sweep: bool) -> None:
    """Print the preview of a run or of a sweep. Raises ConfigError if it can't be trained."""
    if sweep:
        _preview_sweep(plan_sweep(overrides, config_dir, console, load_data=False), console)
    else:
        _preview_run(validate(compose_tree(overrides, config_dir)), console)
    print_labelled(console, "dry run", "nothing was written", width=15)


def _preview_sweep(plan: Plan, console: Console) -> None:
    """Print the header of a sweep, what would happen to each run, and the estimated time."""
    if plan.grid is None:
        ended = optuna_study.count_trials(plan)
        counts = f"{plan.trials} trials, {ended} done already, {plan.jobs} at a time"
        print_message(console, f"sweep {short_path(plan.folder)}: {counts}")
        print_line(console, "The optimizer chooses their values while they run.")
        return
    found = survey(plan)
    for line in [*note_other_runs(plan), *header(plan, found)]:
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


def _preview_run(config: Config, console: Console) -> None:
    """Print the size of the network and of the data, the steps and the estimated time of a run."""
    split, rows, data = sizes(config), describe(config), info(config.data)
    parameters = sum(row.parameters + row.norm_parameters for row in rows)
    epochs = split.total_steps / split.steps_per_epoch
    started = time.process_time()
    with console.status("timing a few steps"):
        loading, (seconds,) = _timed([config], 1)
    lines = {
        "network": f"{config.model.name}, norm={config.norm.name}: {len(rows)} layers, {parameters:,} parameters",
        "data": f"{config.data.name}: {split.train:,} training, {split.val:,} validation, "
        f"{config.data.test_size or data.test_samples:,} test samples",
        **({"": names} if (names := class_names(config)) else {}),
        "steps": f"{split.total_steps:,} ({epochs:.4g} epoch{'s' * (epochs != 1)} of {split.steps_per_epoch:,}), "
        f"batch_size={config.batch_size}" + f", accumulate={config.accumulate}" * (config.accumulate > 1),
        "time": f"roughly {format_duration(started + loading + seconds)} (from a few timed steps)",
    }
    for label, text in lines.items():
        print_labelled(console, label, text, width=15)


def _actions(plan: Plan, found: Survey) -> Iterator[tuple[str, str]]:
    """The name of each run and what would happen to it."""
    yield from ((run.name, "skipped") for runs in found.skipped.values() for run in runs)
    yield from ((run.name, "done") for run in found.done)
    yield from ((run.name, "on Slurm") for run in found.queued)
    for name, config in _left(found).items():
        total = sizes(config).total_steps
        if name in found.replaced:
            yield name, f"train again: {total} steps"
        elif name in found.locked:
            yield name, "running in another process"
        elif name in found.resumed:
            yield name, f"resume after step {_steps_done(plan.folder / name)} of {total}"
        else:
            yield name, f"train: {total} steps"


def _left(found: Survey) -> dict[str, Config]:
    """The configs of the runs to train, by name."""
    return {run.name: run.config for run in found.left if run.config}


def _steps_done(directory: Path) -> int:
    with suppress(OSError, ValueError):
        return int(rundir.read_status(directory)["step"])
    return 0


def _total_time(plan: Plan, found: Survey) -> str:
    """The estimated time of the runs that are left, in words: from finished runs of the same kind, or from timed steps."""
    started, measured = time.process_time(), _measured(plan, found)
    at_once = min(plan.jobs, len(found.left)) if plan.local else 1
    threads = 1 if plan.local and plan.jobs > 1 else None
    configs = {_kind(config): config for config in _left(found).values()}
    chosen = evenly_spaced([kind for kind in configs if kind not in measured], MAX_TIMED)
    timed_configs = [replace(configs[kind], threads=configs[kind].threads or threads) for kind in chosen]
    loading, timed = _timed(timed_configs, at_once)
    seconds = {**measured, **dict(zip(chosen, timed, strict=True))}
    # The command itself takes about as long to start and to report as one of its processes takes to load.
    ends = [started + 2 * loading] * at_once  # when each of the runs that train at a time ends
    for name, config in _left(found).items():
        done = _steps_done(plan.folder / name) / sizes(config).total_steps if name in found.resumed else 0.0
        heapq.heapreplace(ends, ends[0] + (1 - done) * seconds.get(_kind(config), fmean(seconds.values())))
    sources = ["finished runs of this sweep"] * bool(configs.keys() & measured.keys())
    sources += ["a few timed steps"] * bool(timed)
    how = f"{at_once} at a time" if plan.local else "in total, not divided by the number of parallel jobs"
    return f"roughly {format_duration(max(ends))}, {how} (from {' and '.join(sources)})"


def _measured(plan: Plan, found: Survey) -> dict[str, float]:
    """Mean seconds of the finished runs, by kind."""
    seconds: dict[str, list[float]] = {}
    for run in found.done:
        status = rundir.read_status(plan.folder / run.name)
        if run.config is not None and status["state"] == "completed":
            seconds.setdefault(_kind(run.config), []).append(status["seconds"])
    return {kind: fmean(values) for kind, values in seconds.items()}


def _kind(config: Config) -> str:
    """The settings that determine the duration of a run."""
    settings = flatten(as_tree(config)).items()
    return repr([item for item in settings if not {item[0], item[0].partition(".")[0]} & NO_EFFECT_ON_TIME])


def _timed(configs: Sequence[Config], at_once: int) -> tuple[float, list[float]]:
    """Seconds to load torch, and the estimated seconds of a run of each config. Raises ConfigError if no step can be made.

    As many are timed at once as the sweep would train, since they share the cores.
    """
    if not configs:
        return 0.0, []
    using_gpu = any(config.device != "cpu" for config in configs) and gpus.visible_gpus()
    tasks = [as_tree(config) for config in configs] * math.ceil(at_once / len(configs))
    launched = time.time()
    try:
        timed = list(map(_time_run, tasks)) if at_once == 1 or using_gpu else _time_at_once(tasks, at_once)
    except ConfigError:
        raise
    except (RuntimeError, MemoryError, OSError) as error:  # out of memory, say
        reason = show((str(error).splitlines() or [type(error).__name__])[0], 200)
        raise ConfigError(f"The steps could not be timed: {reason}") from error
    loaded, seconds = zip(*timed, strict=True)
    return min(loaded) - launched, [fmean(seconds[i :: len(configs)]) for i in range(len(configs))]


def _time_at_once(trees: Sequence[Mapping[str, Any]], processes: int) -> list[tuple[float, float]]:
    """`_time_run` of each tree. Ctrl-C reaches only this process, which ends the others and removes their files."""
    with tempfile.TemporaryDirectory() as folder:
        executor = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_end_with_parent)
        try:
            handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the processes that `submit` starts inherit it
            try:
                futures = [executor.submit(_time_run, tree, folder) for tree in trees]
            finally:
                signal.signal(signal.SIGINT, handler)
            return [future.result() for future in futures]
        finally:
            for child in multiprocessing.active_children():
                child.kill()
            executor.shutdown()


def _end_with_parent() -> None:
    """End this process as soon as its parent has ended. If that was killed, the pool would wait forever for tasks."""

    def wait() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _time_run(tree: Mapping[str, Any], folder: str | None = None) -> tuple[float, float]:
    """The time when torch was loaded (seconds since the epoch), and the estimated seconds of a run.

    folder: for temporary files.
    """
    from normexp.training.timing import estimate_seconds

    loaded = time.time()
    compose_tree([])  # Hydra composes the config of a sweep's run twice
    return loaded, 2 * (time.time() - loaded) + estimate_seconds(validate(tree), folder)
