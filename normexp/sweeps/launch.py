"""Giving the runs of a grid to Hydra's launcher, again where it breaks down."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normexp import rundir
from normexp.config import ConfigError
from normexp.rundir import lock, process
from normexp.rundir.atomic import WriteError
from normexp.sweeps import slurm
from normexp.sweeps.grid import Combination
from normexp.sweeps.hydra_task import task
from normexp.sweeps.spawn import ATTEMPTS, end_with

if TYPE_CHECKING:
    from normexp.sweeps.plan import Plan


MOST_BREAKDOWNS = 3
"""How often the workers may die in a row without a run that comes to its end."""


def launch(plan: Plan, left: Sequence[Combination], say: Callable[[str], None]) -> None:
    """Train what is left of a grid. Raises ConfigError where the launcher can't work.

    A worker that is killed takes joblib's pool with it; the runs that were not done then go to a new one.
    """
    began, fruitless = time.time_ns(), 0
    from hydra.core.utils import JobStatus

    launcher = tied(_plugin(plan))
    killed: Counter[str] = Counter()
    while left:
        try:
            with slurm.noting(plan.folder, [each.name for each in left], say):
                overrides = [each.overrides for each in left]
                if slurm.is_slurm(plan.cfg.hydra.launcher._target_):
                    _launch_on_slurm(plan, launcher, overrides)
                else:
                    returned = launcher.launch(overrides, initial_job_idx=0)
                    for each, job in zip(left, returned, strict=True):
                        if job.status is JobStatus.FAILED:  # not in training, which writes that down, but around it
                            say(f"{each.name}  failed: {_first_line(job._return_value)}")
            return
        except Exception as error:
            if not isinstance(error, BrokenProcessPool):
                _refuse_unless_remote(plan, error)
                say(f"the launcher lost a job: {_first_line(error)}")
                return
            _wait_for_orphans(plan.folder)
            gone = {each.name for each in left if _gone(plan.folder / each.name)}
            killed.update(gone)
            again = {name for name in gone if killed[name] < ATTEMPTS}
            for name in gone - again:
                _mark_killed(plan.folder / name)
            rest = [c for c in left if c.name in again or not _ended_since(plan.folder / c.name, began)]
            fruitless = fruitless + 1 if len(rest) == len(left) else 0
            if fruitless == MOST_BREAKDOWNS:
                say(f"The workers of the sweep keep dying: {_first_line(error)}")
                return
            left = rest


def _refuse_unless_remote(plan: Plan, error: Exception) -> None:
    """A launcher for a cluster raises where a job was cancelled or killed, whatever became of the others."""
    if plan.local or not slurm.jobs(plan.folder):
        raise ConfigError(f"The sweep can't be launched: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    if isinstance(error, WriteError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def tied(launcher: Any) -> Any:
    """The launcher, whose workers end with this process however that ends, if it has workers."""
    if isinstance(getattr(launcher, "joblib", None), dict):
        launcher.joblib |= {"initializer": end_with, "initargs": (process.identity(),)}
    return launcher


def _plugin(plan: Plan) -> Any:
    from hydra.core.plugins import Plugins
    from hydra.types import HydraContext

    from normexp.sweeps.returns import callbacks

    context = HydraContext(config_loader=plan.loader, callbacks=callbacks(plan.cfg))
    return Plugins.instance().instantiate_launcher(context, task, plan.cfg)


def _wait_for_orphans(folder: Path) -> None:
    """Runs whose worker is gone end by themselves within seconds."""
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline and any(lock.holder(path.parent) for path in folder.glob(f"*/{lock.NAME}")):
        time.sleep(0.1)


def _gone(directory: Path) -> bool:
    """Whether a run was killed, and the process that would have written that down too."""
    with suppress(OSError, ValueError):
        return bool(rundir.read_status(directory)["process_gone"])
    return False


def mark_stopped(folder: Path) -> None:
    """Mark the runs of this driver that it killed to stop at once as interrupted: they could not do so themselves.

    A run that was killed earlier keeps the reason that stands in its status.
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
    """Whether a run came to an end, good or bad, after a point in time (nanoseconds)."""
    with suppress(OSError, ValueError):
        ends = ("completed", "diverged", "failed", "killed", "skipped")
        return rundir.read_status(directory)["state"] in ends and (directory / "status.json").stat().st_mtime_ns > began
    return False


def _launch_on_slurm(plan: Plan, launcher: Any, jobs: list[Sequence[str]]) -> None:
    """Submit, and wait for as long as Slurm has the jobs.

    From a thread: the launcher waits for ever for a job that was cancelled before it began.
    """
    lost: list[Exception] = []

    def work() -> None:
        try:
            launcher.launch(jobs, initial_job_idx=0)
        except Exception as error:
            lost.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while thread.is_alive() and not slurm.jobs(plan.folder):
        time.sleep(0.5)
    slurm.wait(plan.folder, over=lambda: not thread.is_alive())
    if lost:
        raise lost[0]


def end_workers() -> None:
    """End joblib's workers, which would wait for more work for minutes."""
    import sys

    if "joblib.externals.loky" in sys.modules:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor(max_workers=1).shutdown(wait=True, kill_workers=True)
