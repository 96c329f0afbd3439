"""One run of a sweep in a process of its own, so that whatever ends it ends nothing else."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from normexp import lock, process, rundir

ATTEMPTS = 2
"""How often a run is started whose process gets killed."""

PAUSE = 1.0
"""Seconds before it is started once more: memory may be free again then, and the driver has seen what happened."""

BUSY = 75
"""Exit code of a process that finds another one training its run (EX_TEMPFAIL of sysexits.h)."""


@dataclass(frozen=True)
class Job:
    """What to train, and where. tree: the composed config. threads: where it leaves them open. cwd: for relative paths. driver,
    parent: the processes that launched the sweep, and that started this run's."""

    directory: Path
    tree: Mapping[str, Any]
    command: list[str]
    threads: int | None
    cwd: str
    driver: Mapping[str, Any]
    parent: Mapping[str, Any]


def attempt(job: Job, *, stopping: Callable[[], bool]) -> None:
    """Train, and once more if the process is killed, but by the sweep's own end. How it ended stands in the run's status."""
    for left in reversed(range(ATTEMPTS)):
        code, pid = _in_a_process(job)
        if not _record(job, code, pid, 0 if stopping() else left):
            return
        time.sleep(PAUSE)


def _in_a_process(job: Job) -> tuple[int, int]:
    """The exit code, or minus the signal, of a process that trains; and its pid.

    It comes from a fork server, which has imported torch once: that saves seconds a run, and nothing is forked that has threads.
    """
    if (
        multiprocessing.get_start_method(allow_none=True) == "loky"
    ):  # a worker of joblib's; loky is unknown to its children
        multiprocessing.set_start_method("forkserver", force=True)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    resource_tracker.ensure_running()  # when it starts, it unblocks the signals that this process blocks
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["normexp.sweeps.child"])
    child = context.Process(target=_train, args=(job,))
    child.start()
    while child.is_alive():  # not for ever at once: between two waits, this process heeds its signals
        child.join(0.2)
    assert child.exitcode is not None and child.pid is not None
    return child.exitcode, child.pid


def _train(job: Job) -> None:
    from normexp.sweeps.child import train

    train(job)


def _record(job: Job, code: int, pid: int, left: int) -> bool:
    """Write down how a process ended that could not do so itself; returns whether to try once more."""
    if code in (0, BUSY):
        return False
    with lock.held(job.directory, driver=job.driver) as free:
        return free and _write_down(job.directory, code, pid, left)


def _write_down(directory: Path, code: int, pid: int, left: int) -> bool:
    try:
        status = rundir.read_status(directory)
    except (OSError, ValueError):
        rundir.write_first_status(directory, "running")
        status = {**rundir.read_status(directory), "pid": None}
    if status["pid"] == pid and status["state"] != "killed":  # it had written its end
        return False
    state: rundir.State = "failed"
    error = f"its process ended with exit code {code}"
    if code < 0:
        name = signal.Signals(-code).name
        error = f"killed by {name}"
        state = "killed"
        if code == -signal.SIGKILL:
            error += ", as the system does where memory runs out"
        if code in (-signal.SIGTERM, -signal.SIGINT):
            state, error = "interrupted", f"stopped by {name} before it began to train"
    again = state == "killed" and left > 0
    error += "; trying once more" if again else ""
    with (directory / "train.log").open("a", encoding="utf-8") as log:
        log.write(f"{rundir.now()} {error}\n")
    rundir.rewrite_status(directory, status, state=state, error=error)
    return again


def end_with(other: Mapping[str, Any]) -> None:
    """Watch, from a thread, until another process is gone, and then end this one at once. Ctrl-C is for the other to heed."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})

    def watch() -> None:
        while process.alive(other):
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
