"""One run of a sweep in a process of its own, so that whatever ends it ends nothing else."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing import resource_tracker
from typing import Any

from normexp import rundir
from normexp.rundir import lock, process
from normexp.sweeps.job import BUSY, Job

ATTEMPTS = 2
"""How often a run is started whose process gets killed."""

PAUSE = 1.0
"""Seconds before it is started once more: memory may be free again then, and the driver has seen what happened."""


def attempt(job: Job, *, stopping: Callable[[], bool]) -> None:
    """Train, and once more if the process is killed, but by the sweep's own end. How it ended stands in the run's status."""
    for left in reversed(range(ATTEMPTS)):
        code, pid = _in_a_process(job)
        if code in (0, BUSY):
            return
        state, error = _how(code, stopping=stopping())
        again = state == "killed" and left > 0
        if not _record(job, pid, state, error + "; trying once more" * again) or not again:
            return
        time.sleep(PAUSE)


def _in_a_process(job: Job) -> tuple[int, int]:
    """The exit code, or minus the signal, of a process that trains; and its pid.

    It comes from a fork server, which has imported torch once: that saves seconds a run, and nothing is forked that has threads.
    """
    if multiprocessing.get_start_method(allow_none=True) == "loky":
        # In a worker of joblib's, whose children don't know loky.
        multiprocessing.set_start_method("forkserver", force=True)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    resource_tracker.ensure_running()  # when it starts, it unblocks the signals that this process blocks
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["normexp.sweeps.worker"])
    child = context.Process(target=_train, args=(job,))
    child.start()
    while child.is_alive():  # not for ever at once: between two waits, this process heeds its signals
        child.join(0.2)
    assert child.exitcode is not None and child.pid is not None
    return child.exitcode, child.pid


def _train(job: Job) -> None:
    """In the worker. The driver imports no torch, which would take memory and seconds."""
    from normexp.sweeps.worker import train

    train(job)


def _how(code: int, *, stopping: bool) -> tuple[rundir.State, str]:
    """How a process ended, by its exit code or minus the signal. stopping: whether the sweep ends its runs."""
    if code > 0:
        return "failed", f"its process ended with exit code {code}"
    name = signal.Signals(-code).name
    if stopping:
        return "interrupted", f"stopped at once, by {name}"
    if -code in (signal.SIGTERM, signal.SIGINT):
        return "interrupted", f"stopped by {name} before it began to train"
    return "killed", f"killed by {name}" + ", as the system does where memory runs out" * (-code == signal.SIGKILL)


def _record(job: Job, pid: int, state: rundir.State, error: str) -> bool:
    """Write down how a process ended, unless it did so itself, or another is at work there; returns whether that was done."""
    with lock.held(job.directory) as free:  # without the driver, which marks locks of runs that train
        if not free:
            return False
        try:
            status = rundir.read_status(job.directory)
        except (OSError, ValueError):
            rundir.write_first_status(job.directory, "running")
            status = {**rundir.read_status(job.directory), "pid": None}
        if status.get("pid") == pid and status["state"] != "killed":
            return False
        with (job.directory / "train.log").open("a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(f"{rundir.now()} {error}\n")
        rundir.rewrite_status(job.directory, status, state=state, error=error)
        return True


def end_with(other: Mapping[str, Any]) -> None:
    """Watch, from a thread, until another process is gone, and then end this one at once. Ctrl-C is for the other to heed."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})

    def watch() -> None:
        while process.alive(other):
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
