"""Launch a grid through Hydra's launcher, and retry if its worker pool dies."""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus

from normexp import rundir
from normexp.compose.compose import Combination
from normexp.config import ConfigError
from normexp.rundir import lock, process
from normexp.rundir.atomic import WriteError
from normexp.sweeps import slurm
from normexp.sweeps.hydra_task import hydra_context, task
from normexp.sweeps.plan import Plan
from normexp.sweeps.progress import FINAL_STATES
from normexp.sweeps.spawn import MAX_ATTEMPTS, exit_with_process

MAX_BREAKDOWNS = 3
"""Limit on the deaths of the worker pool without any run having ended in between."""


def launch_grid(plan: Plan, left: Sequence[Combination], say: Callable[[str], None]) -> None:
    """Train the remaining runs of a grid. Raises ConfigError if the launcher can't work.

    If a worker is killed, joblib's whole pool breaks. The unfinished runs are then launched in a new pool.
    """
    began, breakdowns = time.time_ns(), 0
    launcher = _make_launcher(plan)
    tie_workers(launcher)
    killed: Counter[str] = Counter()
    while left:
        launch = partial(launcher.launch, [run.overrides for run in left], initial_job_idx=0)
        try:
            if plan.cfg.hydra.launcher._target_.endswith(".SlurmLauncher"):
                slurm.submit_and_wait(plan.folder, [run.name for run in left], launch, say)
            else:
                for run, result in zip(left, launch(), strict=True):
                    if result.status is JobStatus.FAILED:  # outside of training, whose failures are recorded
                        say(f"{run.name}  failed: {_first_line(result._return_value)}")
            return
        except BrokenProcessPool as error:
            rest = _unfinished(plan.folder, left, began, killed)
            breakdowns = breakdowns + 1 if len(rest) == len(left) else 0
            if breakdowns == MAX_BREAKDOWNS:
                say(f"The worker processes keep dying: {_first_line(error)}")
                return
            left = rest
        except Exception as error:
            if plan.local or not (slurm.recorded_jobs(plan.folder) or slurm.submitted_jobs(plan.folder)):
                raise ConfigError(f"The launcher failed: {_first_line(error)}") from error
            say(f"a job was lost: {_first_line(error)}")  # one of a cluster's, which was cancelled or killed
            return


def _make_launcher(plan: Plan) -> Any:
    return Plugins.instance().instantiate_launcher(hydra_context(plan.cfg, plan.loader), task, plan.cfg)


def tie_workers(launcher: Any) -> None:
    """Make the joblib workers of a launcher, if it has any, exit when this process does."""
    if isinstance(getattr(launcher, "joblib", None), dict):
        launcher.joblib |= {"initializer": exit_with_process, "initargs": (process.identity(),)}


def _first_line(error: Exception) -> str:
    if isinstance(error, WriteError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _unfinished(folder: Path, runs: Sequence[Combination], began: int, killed: Counter[str]) -> Sequence[Combination]:
    """The runs to launch again when the worker pool has died.

    began: when the sweep was launched (time_ns). killed: counts how often each run was killed with the process that started it.
    """
    deadline = time.monotonic() + 10.0  # runs whose worker died stop by themselves within seconds
    while time.monotonic() < deadline and any(lock.holder(path.parent) for path in folder.glob(f"*/{lock.NAME}")):
        time.sleep(0.1)
    unfinished = []
    for run in runs:
        directory = folder / run.name
        try:
            status, written = rundir.read_status(directory), (directory / "status.json").stat().st_mtime_ns
        except (OSError, ValueError):
            unfinished.append(run)
            continue
        ended = status["state"] in FINAL_STATES and written > began
        if status["process_gone"]:
            killed[run.name] += 1
            ended = killed[run.name] >= MAX_ATTEMPTS
            if ended:
                error = "killed, together with the process that started it"
                rundir.rewrite_status(directory, status, state="killed", error=error)
        if not ended:
            unfinished.append(run)
    return unfinished


def mark_stopped(folder: Path) -> None:
    """Mark the runs that this driver killed to stop at once as interrupted, since they could not do so themselves.

    A run that was killed earlier keeps its status.
    """
    me = process.identity()
    for path in folder.glob(f"*/{lock.NAME}"):
        with suppress(OSError, ValueError):
            mine = json.loads(path.read_text(encoding="utf-8")).get("driver") == me
            status = rundir.read_status(path.parent)
            if mine and status["process_gone"]:
                rundir.rewrite_status(path.parent, status, state="interrupted", error="stopped at once")
