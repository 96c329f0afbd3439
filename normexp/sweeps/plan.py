"""`normexp train -m`: the runs of a grid, or of an optimizer, through Hydra's launchers and sweepers."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from rich.console import Console

from normexp import rundir
from normexp.compose.compose import composing_errors, explain, hydra_with, quoted
from normexp.compose.overrides import Arguments, check
from normexp.config import ConfigError, Objective, expanded, show, unknown_choice
from normexp.rundir import process
from normexp.sinks.progress_bar import RunConsole
from normexp.sweeps import gpus, launch, optuna_study, slurm
from normexp.sweeps.grid import Combination, combinations, of_choices, overrides_of, with_data
from normexp.sweeps.hydra_task import SESSION
from normexp.sweeps.manifest import Session, add_runs, close_session, open_session, write_manifest
from normexp.sweeps.names import sweep_name
from normexp.sweeps.progress import View
from normexp.sweeps.shutdown import Watch
from normexp.sweeps.summary import closing, opening

if TYPE_CHECKING:
    from omegaconf import DictConfig

LOCAL = ("hydra_plugins.hydra_joblib_launcher.", "hydra._internal.core_plugins.basic_launcher.")
"""Launchers whose runs are processes of the driver's own."""

EXTRAS = {"hydra/launcher=slurm": "slurm", "hydra/launcher=ray": "ray", "hydra/sweeper=optuna": "optuna"}
"""Overrides that work where an extra of the package is installed, and its name."""

NOT_SWEPT = ("name", "runs_dir", "data_dir", "jobs", "objective", "experiment")


@dataclass
class Plan:
    """A sweep before it starts. grid: its runs, where they are known beforehand. trials: how many there are to be otherwise."""

    folder: Path
    cfg: DictConfig
    loader: Any
    overrides: list[str]
    grid: list[Combination] | None
    trials: int
    jobs: int
    local: bool


def sweep(overrides: list[str], *, config_dir: Path | None, arguments: Sequence[str]) -> int:
    """Make the runs that the overrides ask for, as far as they are not there; returns the exit code.

    arguments: as they were typed behind `normexp train`. Raises ConfigError, with nothing written, where no run can be made.
    """
    console = RunConsole()  # one whose closed pipe (`| head`) ends the display, not the sweep
    with composed(overrides, config_dir) as (cfg, loader):
        try:  # reading a key resolves its interpolations
            _check_filed(cfg, config_dir)
            plan = _plan(cfg, loader, [override for override in overrides if of_choices(override)], console)
        except composing_errors() as error:
            raise ConfigError(explain(error)) from error
        threads = 1 if plan.local and plan.jobs > 1 else None
        session = Session(["normexp", "train", *arguments], str(Path.cwd()), threads, process.identity(), plan.local)
        code = _run(plan, session, arguments, console)
    console.close()
    return code


def is_sweep(overrides: list[str], config_dir: Path | None) -> bool:
    """Whether the config that overrides compose asks for a sweep by itself. False where they compose none: others say why."""
    try:
        checked = check(Arguments([], overrides, config_dir), sweeps=True)
        with composed(checked, config_dir) as (cfg, _):
            return str(cfg.hydra.mode).upper().endswith("MULTIRUN")
    except ConfigError:
        return False


@contextmanager
def composed(overrides: list[str], config_dir: Path | None) -> Iterator[tuple[DictConfig, Any]]:
    """The config of the sweep as a whole, Hydra's own part included, and the loader for those of its runs."""
    from hydra.types import RunMode

    with hydra_with(config_dir) as app:
        try:
            general = [override for override in overrides if not of_choices(override)]
            cfg = app.config_loader.load_configuration("train", general, RunMode.MULTIRUN)
        except composing_errors() as error:
            extras = [EXTRAS[override] for override in overrides if override in EXTRAS]
            if extras and "hydra/" in str(error):
                raise ConfigError(f"That needs an extra: pip install 'normexp[{','.join(extras)}]'.") from error
            raise ConfigError(explain(error)) from error
        yield cfg, app.config_loader


def _check_filed(cfg: DictConfig, config_dir: Path | None) -> None:
    """Keys and choices among an experiment's own values, as for those of the command line."""
    params = cfg.hydra.sweeper.get("params") or {}
    for key, value in params.items():
        if not isinstance(value, str | int | float):
            raise ConfigError(
                f"hydra.sweeper.params of the experiment: {key} needs its values as one text: '{key}: a,b'."
            )
        if "hydra" in str(key):
            raise ConfigError(f"hydra.sweeper.params of the experiment: {show(key)} is no key of a run.")
    filed = [f"{key}={value}" for key, value in params.items()]
    try:
        check(Arguments([], filed, config_dir), sweeps=True)
    except ConfigError as error:
        raise ConfigError(f"hydra.sweeper.params of the experiment: {error}") from error


def _plan(cfg: DictConfig, loader: Any, of_choice: list[str], console: Console) -> Plan:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    overrides = overrides_of(cfg, of_choice)
    parsed = OverridesParser.create().parse_overrides(overrides)
    for override in parsed:
        if override.is_sweep_override() and override.key_or_group in NOT_SWEPT:
            raise ConfigError(f"{override.key_or_group} has one value in a sweep, not several.")
    experiment = next((str(o.value()) for o in parsed if o.key_or_group == "experiment"), None)
    if cfg.objective not in get_args(Objective):
        raise ConfigError(unknown_choice("objective", show(cfg.objective), get_args(Objective)))
    name = cfg.name if cfg.name is not None else sweep_name([*cfg.hydra.overrides.task, *of_choice], experiment)
    rundir.check_name(str(name))
    folder = (expanded("runs_dir", str(cfg.runs_dir)) / str(name)).absolute()
    _check_shared(cfg)
    if (folder / "status.json").exists():
        raise ConfigError(f"name={show(name)}: {folder} is a run; give the sweep another name.")
    local = cfg.hydra.launcher._target_.startswith(LOCAL)
    jobs = jobs_of(cfg) if "n_jobs" in cfg.hydra.launcher or not local else 1
    aim(cfg, folder, jobs)
    grid = None
    if cfg.hydra.sweeper._target_.endswith(".BasicSweeper"):
        grid = combinations(cfg, loader, overrides, console)
        if local:
            grid = with_data(grid, folder)
        _refuse_invalid_values(grid)
        if all(combination.problem for combination in grid):
            raise ConfigError(str(grid[0].problem))
    trials = int(cfg.hydra.sweeper.get("n_trials", 0))
    return Plan(folder, cfg, loader, overrides, grid, trials, jobs, local)


def _check_shared(cfg: DictConfig) -> None:
    """ConfigError for a name or a folder of the sweep that depends on other keys: it would get the values of the defaults."""
    from omegaconf import OmegaConf

    as_typed = OmegaConf.to_container(OmegaConf.masked_copy(cfg, ["name", "runs_dir"]))
    for key, value in cast(dict[str, Any], as_typed).items():
        if isinstance(value, str) and re.search(r"\$\{(?!oc\.env:)", value):
            raise ConfigError(f"{key}={show(value)}: all runs of a sweep share {key}; write it without ${{...}}.")


def aim(cfg: DictConfig, folder: Path, jobs: int) -> None:
    """Have the runs of a sweep's config made in a folder, so many at once. Their configs are composed anew, by the launcher."""
    from omegaconf import open_dict

    if "${" in str(folder):
        raise ConfigError(f"{folder}: a path with ${{ in it can't be used for a sweep.")
    with open_dict(cfg):
        cfg.hydra.overrides.hydra += [f"hydra.sweep.dir={quoted(str(folder))}", "hydra.sweep.subdir=."]
        cfg.hydra.sweep.dir = str(folder)
        if "n_jobs" in cfg.hydra.launcher:
            cfg.hydra.launcher.n_jobs = jobs
            # joblib's own choice gives a worker several runs where the first are short
            cfg.hydra.launcher.batch_size = "1"


def _refuse_invalid_values(grid: Sequence[Combination]) -> None:
    """ConfigError for a value that no run can have: a slip of the pen, and not a combination that can't work."""
    for each in grid:
        if each.invalid_value:
            raise ConfigError(str(each.problem))


def jobs_of(cfg: DictConfig) -> int:
    """Number of runs at once: one per GPU if they train on GPUs, else one per core."""
    from joblib import cpu_count

    if cfg.jobs is not None:
        if not isinstance(cfg.jobs, int) or isinstance(cfg.jobs, bool) or cfg.jobs < 1:
            raise ConfigError(f"jobs={show(cfg.jobs)}: jobs must be a whole number of at least 1 or null.")
        return cfg.jobs
    count = 0 if cfg.device == "cpu" else len(gpus.visible_gpus())
    if cfg.device == "cuda":
        return max(1, count)
    return count or max(1, cpu_count())


def _run(plan: Plan, session: Session, arguments: Sequence[str], console: Console) -> int:
    folder = plan.folder
    rundir.make(folder, lambda: write_manifest(folder, name=folder.name, arguments=arguments, session=session))
    path = open_session(folder, session)
    take_part(plan.cfg, path)
    try:
        interrupted_by = train_runs(plan, path, console)
    finally:
        if plan.local:
            try:
                close_session(path)
            finally:
                launch.end_workers()
    if interrupted_by and plan.local:
        launch.mark_stopped(folder)
    failed = closing(plan, console)
    if interrupted_by:
        return 128 + interrupted_by
    return 1 if failed else 0


def take_part(cfg: DictConfig, path: Path) -> None:
    """Tell the runs of a sweep's config of the session's file."""
    cfg.hydra.overrides.hydra.append(f"+hydra.job.env_set.{SESSION}={quoted(str(path))}")


def train_runs(plan: Plan, path: Path, console: Console) -> int | None:
    """Have the runs trained; returns the signal that interrupted that, if one did. path: the session's file."""
    folder = plan.folder
    left = opening(plan, console)
    names = None if plan.grid is None else [each.name for each in plan.grid if not each.problem]
    add_runs(folder, names or [])
    view = View(
        console,
        folder,
        names=names,
        total=plan.trials if names is None else len(names),
        skipped=sum(each.problem is not None for each in plan.grid or []),
    )
    watch = Watch(view, folder, path)
    interrupted = False
    try:
        with watch.beside(local=plan.local):
            if plan.grid is None:
                optuna_study.optimize(plan)
            else:
                launch.launch(plan, left, view.say)
            slurm.wait(folder)
    except KeyboardInterrupt:
        interrupted = True
    except ValueError:  # Optuna's, about trials that were stopped: they have no value
        if path.exists():  # a signal deletes it, and it is gone with the sweep's folder
            raise
    # The last runs may have taken the hint, so that nothing else was interrupted.
    return watch.signal or (signal.SIGINT if interrupted else None)
