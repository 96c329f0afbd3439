"""Launch a grid through Hydra's launcher, and retry if its worker pool dies."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import Any

from normexp import rundir
from normexp.compose.composer import Combination
from normexp.config import ConfigError
from normexp.rundir import lock, process
from normexp.rundir.atomic import WriteError
from normexp.sweeps import slurm
from normexp.sweeps.hydra_task import task
from normexp.sweeps.plan import Plan
from normexp.sweeps.progress import FINAL_STATES
from normexp.sweeps.spawn import MAX_ATTEMPTS, exit_with_process

MAX_BREAKDOWNS = 3
"""How often in a row the worker pool may die without any run having ended in between."""


def launch_grid(plan: Plan, left: Sequence[Combination], say: Callable[[str], None]) -> None:
    """Train the remaining runs of a grid. Raises ConfigError if the launcher can't work.

    If a worker is killed, joblib's whole pool breaks. The unfinished runs are then launched in a new pool.
    """
    from hydra.core.utils import JobStatus

    began, breakdowns = time.time_ns(), 0
    launcher = tie_workers(_make_launcher(plan))
    killed: Counter[str] = Counter()
    while left:
        try:
            with slurm.record_jobs(plan.folder, [run.name for run in left], say):
                overrides = [run.overrides for run in left]
                if slurm.is_slurm(plan.cfg.hydra.launcher._target_):
                    _launch_on_slurm(plan, launcher, overrides)
                else:
                    results = launcher.launch(overrides, initial_job_idx=0)
                    for run, result in zip(left, results, strict=True):
                        if result.status is JobStatus.FAILED:  # outside of training, whose failures are recorded
                            say(f"{run.name}  failed: {_first_line(result._return_value)}")
            return
        except Exception as error:
            if not isinstance(error, BrokenProcessPool):
                _refuse_unless_remote(plan, error)
                say(f"the launcher lost a job: {_first_line(error)}")
                return
            _wait_for_orphans(plan.folder)
            gone = {run.name for run in left if _was_killed(plan.folder / run.name)}
            killed.update(gone)
            again = {name for name in gone if killed[name] < MAX_ATTEMPTS}
            for name in gone - again:
                _mark_killed(plan.folder / name)
            rest = [run for run in left if run.name in again or not _ended_since(plan.folder / run.name, began)]
            breakdowns = breakdowns + 1 if len(rest) == len(left) else 0
            if breakdowns == MAX_BREAKDOWNS:
                say(f"The workers of the sweep keep dying: {_first_line(error)}")
                return
            left = rest


def _refuse_unless_remote(plan: Plan, error: Exception) -> None:
    """Raise ConfigError, unless the launcher only reports that one job of a cluster was cancelled or killed."""
    if plan.local or not slurm.recorded_jobs(plan.folder):
        raise ConfigError(f"The sweep can't be launched: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    if isinstance(error, WriteError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def tie_workers(launcher: Any) -> Any:
    """The launcher, whose joblib workers, if any, now exit when this process does."""
    if isinstance(getattr(launcher, "joblib", None), dict):
        launcher.joblib |= {"initializer": exit_with_process, "initargs": (process.identity(),)}
    return launcher


def _make_launcher(plan: Plan) -> Any:
    from hydra.core.plugins import Plugins
    from hydra.types import HydraContext

    from normexp.sweeps.hydra_callbacks import sweep_callbacks

    context = HydraContext(config_loader=plan.loader, callbacks=sweep_callbacks(plan.cfg))
    return Plugins.instance().instantiate_launcher(context, task, plan.cfg)


def _wait_for_orphans(folder: Path) -> None:
    """Wait for runs whose worker died; they stop by themselves within seconds."""
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline and any(lock.holder(path.parent) for path in folder.glob(f"*/{lock.NAME}")):
        time.sleep(0.1)


def _was_killed(directory: Path) -> bool:
    """Whether a run was killed together with the process that would have recorded that."""
    with suppress(OSError, ValueError):
        return bool(rundir.read_status(directory)["process_gone"])
    return False


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


def _mark_killed(directory: Path) -> None:
    error = "killed, and the process that had started it too"
    rundir.rewrite_status(directory, rundir.read_status(directory), state="killed", error=error)


def _ended_since(directory: Path, began: int) -> bool:
    """Whether a run ended after a point in time (nanoseconds since the epoch)."""
    with suppress(OSError, ValueError):
        return (
            rundir.read_status(directory)["state"] in FINAL_STATES
            and (directory / "status.json").stat().st_mtime_ns > began
        )
    return False


def _launch_on_slurm(plan: Plan, launcher: Any, jobs: list[Sequence[str]]) -> None:
    """Submit the jobs and wait as long as Slurm has them.

    The launcher runs in a thread, since it waits forever for a job that was cancelled before it began.
    """
    errors: list[Exception] = []

    def submit() -> None:
        try:
            launcher.launch(jobs, initial_job_idx=0)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=submit, daemon=True)
    thread.start()
    while thread.is_alive() and not slurm.recorded_jobs(plan.folder):
        time.sleep(0.5)
    slurm.wait_for_jobs(plan.folder, over=lambda: not thread.is_alive())
    if errors:
        raise errors[0]


def end_workers() -> None:
    """End joblib's workers, which would otherwise idle for minutes."""
    if "joblib.externals.loky" in sys.modules:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor(max_workers=1).shutdown(wait=True, kill_workers=True)
