"""Plan a sweep: its folder, its runs and how many run at a time, all checked before anything is written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from rich.console import Console

from normexp import rundir
from normexp.compose.compose import compose_sweep, is_choice_key, quoted
from normexp.compose.composer import Combination
from normexp.compose.errors import config_errors
from normexp.compose.overrides import parse_overrides, validate_overrides
from normexp.config import ConfigError, Objective, expand_path, show, unknown_choice
from normexp.sweeps import gpus
from normexp.sweeps.grid import check_data, expand_grid
from normexp.sweeps.names import sweep_name

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from normexp.compose.loader import Loader

LOCAL_LAUNCHERS = ("hydra_plugins.hydra_joblib_launcher.", "hydra._internal.core_plugins.basic_launcher.")
"""Launchers whose runs are processes of this machine, started by the driver."""

NOT_SWEPT = ("name", "runs_dir", "data_dir", "jobs", "objective", "experiment")
"""Keys with one value for the whole sweep."""


@dataclass
class Plan:
    """A sweep before it starts.

    grid: its combinations; None if an optimizer chooses them. trials: how many an optimizer is to make. jobs: runs at a time.
    local: whether the runs are processes of this machine.
    """

    folder: Path
    cfg: DictConfig
    loader: Loader
    overrides: list[str]
    grid: list[Combination] | None
    trials: int
    jobs: int
    local: bool


def plan_sweep(overrides: list[str], config_dir: Path | None, console: Console) -> Plan:
    """The plan of the sweep that the overrides ask for. Raises ConfigError if none of its runs can be trained."""
    cfg, loader = compose_sweep(overrides, config_dir)
    with config_errors():  # reading a key resolves its interpolations
        _check_params(cfg, config_dir)
        return _plan(cfg, loader, [override for override in overrides if is_choice_key(override)], console)


def _plan(cfg: DictConfig, loader: Loader, choice_keys: list[str], console: Console) -> Plan:
    """choice_keys: overrides such as norm.groups=2, which the sweep's own config is composed without."""
    typed = [*cfg.hydra.overrides.task, *choice_keys]
    overrides = _with_params(cfg, typed)
    parsed = parse_overrides(overrides)
    for override in parsed:
        if override.is_sweep_override() and override.key_or_group in NOT_SWEPT:
            raise ConfigError(f"{override.key_or_group} has one value in a sweep, not several.")
    experiment = next((str(o.value()) for o in parsed if o.key_or_group == "experiment"), None)
    if cfg.objective not in get_args(Objective):
        raise ConfigError(unknown_choice("objective", show(cfg.objective), get_args(Objective)))
    name = str(cfg.name if cfg.name is not None else sweep_name(typed, experiment))
    rundir.check_name(name)
    folder = (expand_path("runs_dir", str(cfg.runs_dir)) / name).absolute()
    _check_shared(cfg)
    if (folder / "status.json").exists():
        raise ConfigError(f"name={show(name)}: {folder} is a run; give the sweep another name.")
    local = cfg.hydra.launcher._target_.startswith(LOCAL_LAUNCHERS)
    jobs = count_jobs(cfg) if "n_jobs" in cfg.hydra.launcher or not local else 1
    set_sweep_dir(cfg, folder, jobs)
    grid = None
    if cfg.hydra.sweeper._target_.endswith(".BasicSweeper"):
        grid = expand_grid(cfg, loader, overrides, console)
        if local:
            grid = check_data(grid, folder)
        for combination in grid:  # a typo, not a combination that can't work
            if combination.invalid_value:
                raise ConfigError(str(combination.problem))
        if all(combination.problem for combination in grid):
            raise ConfigError(str(grid[0].problem))
    trials = int(cfg.hydra.sweeper.get("n_trials", 0))
    return Plan(folder, cfg, loader, overrides, grid, trials, jobs, local)


def _check_params(cfg: DictConfig, config_dir: Path | None) -> None:
    """Check the sweep that an experiment's file defines (`hydra.sweeper.params`) as the command line is checked."""
    params = cfg.hydra.sweeper.get("params") or {}
    for key, value in params.items():
        if not isinstance(value, str | int | float):
            raise ConfigError(
                f"hydra.sweeper.params of the experiment: {key} needs its values as one text: '{key}: a,b'."
            )
        if "hydra" in str(key):
            raise ConfigError(f"hydra.sweeper.params of the experiment: {show(key)} is no key of a run.")
    try:
        validate_overrides([f"{key}={value}" for key, value in params.items()], config_dir, sweeps=True)
    except ConfigError as error:
        raise ConfigError(f"hydra.sweeper.params of the experiment: {error}") from error


def _with_params(cfg: DictConfig, typed: list[str]) -> list[str]:
    """The overrides of an experiment's file, except for keys that were typed too, and then those that were typed."""
    keys = {override.partition("=")[0] for override in typed}
    params = cfg.hydra.sweeper.get("params") or {}
    return [f"{key}={value}" for key, value in params.items() if key not in keys] + typed


def _check_shared(cfg: DictConfig) -> None:
    """Raise ConfigError if the sweep's name or folder refers to other keys: these have the defaults' values here."""
    from omegaconf import OmegaConf

    as_typed = OmegaConf.to_container(OmegaConf.masked_copy(cfg, ["name", "runs_dir"]))
    for key, value in cast(dict[str, Any], as_typed).items():
        if isinstance(value, str) and re.search(r"\$\{(?!oc\.env:)", value):
            raise ConfigError(f"{key}={show(value)}: all runs of a sweep share {key}; write it without ${{...}}.")


def set_sweep_dir(cfg: DictConfig, folder: Path, jobs: int) -> None:
    """Make the launcher put the sweep's runs into a folder, and run so many at a time."""
    from omegaconf import open_dict

    if "${" in str(folder):
        raise ConfigError(f"{folder}: a path with ${{ in it can't be used for a sweep.")
    with open_dict(cfg):
        # The launcher composes the runs' configs anew, from these overrides.
        cfg.hydra.overrides.hydra += [f"hydra.sweep.dir={quoted(str(folder))}", "hydra.sweep.subdir=."]
        cfg.hydra.sweep.dir = str(folder)
        if "n_jobs" in cfg.hydra.launcher:
            cfg.hydra.launcher.n_jobs = jobs
            # By default joblib gives a worker several runs at once if the first ones are short.
            cfg.hydra.launcher.batch_size = "1"


def count_jobs(cfg: DictConfig) -> int:
    """How many runs train at a time: one per GPU if they train on GPUs, else one per core."""
    from joblib import cpu_count

    if cfg.jobs is not None:
        if not isinstance(cfg.jobs, int) or isinstance(cfg.jobs, bool) or cfg.jobs < 1:
            raise ConfigError(f"jobs={show(cfg.jobs)}: jobs must be a whole number of at least 1 or null.")
        return cfg.jobs
    count = 0 if cfg.device == "cpu" else len(gpus.visible_gpus())
    if cfg.device == "cuda":
        return max(1, count)
    return count or max(1, cpu_count())
