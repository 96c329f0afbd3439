"""Train each run of a sweep in a process of its own, so a crash ends nothing else."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from normexp import rundir
from normexp.rundir import lock, process
from normexp.sweeps.manifest import BUSY, Job

MAX_ATTEMPTS = 2
"""Limit on the starts of a run whose process gets killed."""

RETRY_PAUSE = 1.0
"""Seconds before the retry: memory may be free again, and the driver has noticed that the process was killed."""


def train_with_retry(job: Job, *, stopping: Callable[[], bool]) -> None:
    """Train a run, and retry if its process is killed. The outcome is recorded in the run's status.

    stopping: whether the sweep is ending its runs, which are not retried then.
    """
    for left in reversed(range(MAX_ATTEMPTS)):
        code, pid = _run_process(job)
        if code in (0, BUSY):
            return
        state, error = _describe_exit(code, stopping=stopping())
        again = state == "killed" and left > 0
        if not _record_exit(job.directory, pid, state, error + "; retrying once" * again) or not again:
            return
        time.sleep(RETRY_PAUSE)


def _run_process(job: Job) -> tuple[int, int]:
    """Train in a new process; returns its exit code, or minus the signal that killed it, and its pid."""
    if multiprocessing.get_start_method(allow_none=True) == "loky":
        # In a joblib worker, whose children don't know the start method loky.
        multiprocessing.set_start_method("forkserver", force=True)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    resource_tracker.ensure_running()  # its start unblocks the signals that this process blocks
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    # The fork server imports torch once: that saves seconds per run, and no process with threads is forked.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["normexp.sweeps.worker"])
    child = context.Process(target=_train, args=(job,))
    child.start()
    while child.is_alive():  # with a timeout, so this process can handle signals
        child.join(0.2)
    assert child.exitcode is not None and child.pid is not None
    return child.exitcode, child.pid


def _train(job: Job) -> None:
    """Runs in the worker. The driver never imports torch, to save memory and seconds."""
    from normexp.sweeps.worker import train

    train(job)


def _describe_exit(code: int, *, stopping: bool) -> tuple[rundir.State, str]:
    """Translate an exit code, or minus a signal, into a run state and an error message."""
    if code > 0:
        return "failed", f"its process exited with code {code}"
    name = signal.Signals(-code).name
    if -code in (signal.SIGTERM, signal.SIGINT):  # once it trains, a run ends by itself
        return "interrupted", f"stopped{'' if stopping else f' by {name}'} before training began"
    if stopping:
        return "interrupted", f"stopped at once, by {name}"
    return "killed", f"killed by {name}" + ", probably because memory ran out" * (-code == signal.SIGKILL)


def _record_exit(directory: Path, pid: int, state: rundir.State, error: str) -> bool:
    """Record how a process ended, unless it did so itself or another process trains the run; returns whether it was recorded."""
    with lock.held(directory) as free:  # no driver: only locks of training runs name one
        if not free:
            return False
        try:
            status = rundir.read_status(directory)
        except (OSError, ValueError):
            rundir.write_status(directory, "running")
            status = {**rundir.read_status(directory), "pid": None}
        if status.get("pid") == pid and status["state"] != "killed":
            return False
        with (directory / "train.log").open("a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(f"{rundir.now()} {error}\n")
        rundir.rewrite_status(directory, status, state=state, error=error)
        return True


def exit_with_process(other: Mapping[str, Any]) -> None:
    """Exit this process when another one does. Blocks Ctrl-C here, since the other process handles it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})

    def watch() -> None:
        while process.alive(other):
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
