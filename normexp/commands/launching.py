"""Giving the runs of a grid to Hydra's launcher, again where it breaks down."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normexp import lock, rundir
from normexp.commands.grid import Combination
from normexp.config import ConfigError
from normexp.sweeps import cluster
from normexp.sweeps.job import ATTEMPTS
from normexp.sweeps.task import task

if TYPE_CHECKING:
    from normexp.commands.sweep import Plan


def launch(plan: Plan, left: Sequence[Combination]) -> None:
    """Train what is left of a grid. Raises ConfigError where the launcher can't work.

    A worker that is killed takes joblib's pool with it; the runs that were not done then go to a new one.
    """
    began = time.time_ns()
    launcher = _plugin(plan)
    killed: Counter[str] = Counter()
    while left:
        jobs_before = set(cluster.submitted(plan.folder))
        try:
            with cluster.noting(plan.folder, [each.name for each in left], jobs_before):
                launcher.launch([each.overrides for each in left], initial_job_idx=0)
            return
        except BrokenProcessPool as error:
            _wait_for_orphans(plan.folder)
            gone = {each.name for each in left if _gone(plan.folder / each.name)}
            killed.update(gone)
            again = {name for name in gone if killed[name] < ATTEMPTS}
            for name in gone - again:
                _mark_killed(plan.folder / name)
            rest = [c for c in left if c.name in again or not _ended_since(plan.folder / c.name, began)]
            if len(rest) == len(left) and not gone:
                raise ConfigError(f"The workers of the sweep can't be started: {str(error).splitlines()[0]}") from error
            left = rest


def _plugin(plan: Plan) -> Any:
    from hydra._internal.callbacks import Callbacks
    from hydra.core.plugins import Plugins
    from hydra.types import HydraContext

    context = HydraContext(config_loader=plan.loader, callbacks=Callbacks(plan.cfg))
    return Plugins.instance().instantiate_launcher(context, task, plan.cfg)


def _wait_for_orphans(folder: Path) -> None:
    """Runs whose worker is gone end by themselves within seconds."""
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline and any(lock.holder(path.parent) for path in folder.glob(f"*/{lock.NAME}")):
        time.sleep(0.1)


def _gone(directory: Path) -> bool:
    """Whether a run was killed, and the process that would have written that down too."""
    with suppress(OSError, ValueError):
        status = rundir.read_status(directory)
        return bool(status["state"] == "killed" and status["error"] == rundir.GONE)
    return False


def _mark_killed(directory: Path) -> None:
    error = "killed, and the process that had started it too"
    rundir.rewrite_status(directory, rundir.read_status(directory), state="killed", error=error)


def _ended_since(directory: Path, began: int) -> bool:
    """Whether a run came to an end, good or bad, after a point in time (nanoseconds)."""
    with suppress(OSError, ValueError):
        ends = ("completed", "diverged", "failed", "killed", "skipped")
        return rundir.read_status(directory)["state"] in ends and (directory / "status.json").stat().st_mtime_ns > began
    return False


def wait_for_cluster(folder: Path) -> None:
    """Wait until Slurm has none of the sweep's jobs any more: those that an earlier command submitted, that is."""
    while cluster.waiting(folder):
        time.sleep(1.0)


def end_workers() -> None:
    """End joblib's workers, which would wait for more work for minutes."""
    import sys

    if "joblib.externals.loky" in sys.modules:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor(max_workers=1).shutdown(wait=True, kill_workers=True)
