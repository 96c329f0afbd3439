"""Run a planned sweep through Hydra's launchers and sweepers."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from normexp import rundir
from normexp.compose.compose import quoted
from normexp.rundir import process
from normexp.sinks.progress_bar import RunConsole
from normexp.sweeps import launch, optuna_study, slurm
from normexp.sweeps.hydra_task import SESSION_VARIABLE
from normexp.sweeps.manifest import Session, add_runs, close_session, open_session, write_manifest
from normexp.sweeps.plan import Plan, plan_sweep
from normexp.sweeps.progress import ProgressView
from normexp.sweeps.shutdown import Watcher
from normexp.sweeps.summary import prepare, print_summary

if TYPE_CHECKING:
    from omegaconf import DictConfig


def run_sweep(overrides: list[str], *, config_dir: Path | None, arguments: Sequence[str]) -> int:
    """Train the runs that the overrides ask for and that are not done yet; returns the exit code.

    arguments: the words after `normexp train`, as typed. Raises ConfigError, with nothing written, if no run can be trained.
    """
    console = RunConsole()  # a closed pipe (`| head`) ends the display, not the sweep
    plan = plan_sweep(overrides, config_dir, console)
    threads = 1 if plan.local and plan.jobs > 1 else None
    session = Session(["normexp", "train", *arguments], str(Path.cwd()), threads, process.identity(), plan.local)
    code = _run(plan, session, arguments, console)
    console.close()
    return code


def _run(plan: Plan, session: Session, arguments: Sequence[str], console: Console) -> int:
    folder = plan.folder
    rundir.create_sweep_directory(
        folder, lambda: write_manifest(folder, name=folder.name, arguments=arguments, session=session)
    )
    session_file = open_session(folder, session)
    pass_session(plan.cfg, session_file)
    try:
        interrupted_by = train_runs(plan, session_file, console)
    finally:
        if plan.local:
            try:
                close_session(session_file)
            finally:
                launch.end_workers()
    if interrupted_by and plan.local:
        launch.mark_stopped(folder)
    unfinished = print_summary(plan, console)
    if interrupted_by:
        return 128 + interrupted_by
    return int(unfinished)


def pass_session(cfg: DictConfig, session_file: Path) -> None:
    """Have Hydra set the environment variable in which the sweep's runs look for the session file."""
    cfg.hydra.overrides.hydra.append(f"+hydra.job.env_set.{SESSION_VARIABLE}={quoted(str(session_file))}")


def train_runs(plan: Plan, session_file: Path, console: Console) -> int | None:
    """Train the runs of a plan; returns the signal that interrupted the sweep, if one did."""
    folder = plan.folder
    left = prepare(plan, console)
    names = None if plan.grid is None else [combination.name for combination in plan.grid if not combination.problem]
    add_runs(folder, names or [])
    view = ProgressView(
        console,
        folder,
        names=names,
        total=plan.trials if names is None else len(names),
        skipped=sum(combination.problem is not None for combination in plan.grid or []),
    )
    watch = Watcher(view, folder, session_file)
    interrupted = False
    try:
        with watch.running(local=plan.local):
            if plan.grid is None:
                optuna_study.optimize(plan)
            else:
                launch.launch_grid(plan, left, view.say)
            slurm.wait_for_jobs(folder)
    except KeyboardInterrupt:
        interrupted = True
    except ValueError:  # Optuna's, for trials that were stopped and so have no value
        if session_file.exists():  # a signal deletes it; it is also gone if the sweep's folder was deleted
            raise
    # If the last runs stopped in time, nothing was interrupted but the signal still counts.
    return watch.signal or (signal.SIGINT if interrupted else None)
