"""The process in which one run of a sweep trains. A fork server imports this module once, and forks for each run."""

from __future__ import annotations

import dataclasses
import faulthandler
import io
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from normexp import rundir
from normexp.compose.validate import validate
from normexp.config import Config, ConfigError, yaml_files
from normexp.models.describe import describe, markdown
from normexp.rundir import lock, process
from normexp.rundir.atomic import WriteError
from normexp.sweeps.job import BUSY, Job
from normexp.sweeps.outcome import ended
from normexp.training import checkpoint
from normexp.training.run import run


def train(job: Job) -> None:
    """Train in the run's directory, which is there, and end this process.

    What is printed, by whoever, and the stack at a crash go to the run's log.
    """
    # Ctrl-C stays blocked: it reaches the driver, which passes it on as SIGTERM.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.chdir(job.cwd)
    if job.gpu is not None:  # in time: CUDA reads it when it is first used, which is in this process
        os.environ["CUDA_VISIBLE_DEVICES"] = job.gpu
    log = (job.directory / "train.log").open("a", encoding="utf-8")
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # the log's, not the terminal's
    faulthandler.enable(log)
    threading.Thread(target=_end_with, args=(job.parent,), daemon=True).start()
    try:
        with lock.held(job.directory, driver=job.driver) as free:
            if not free:
                sys.exit(BUSY)
            if not ended(job.directory):  # another process may have done it meanwhile
                _train(job)
    except ConfigError as error:
        logging.getLogger("normexp").error(str(error))
        _fail(job.directory, str(error))
        print(error, file=sys.stderr, flush=True)
    except Exception as error:
        traceback.print_exc()
        _fail(job.directory, str(error) if isinstance(error, WriteError) else f"{type(error).__name__}: {error}")


def _fail(directory: Path, error: str) -> None:
    """The status of a run that did not begin to train this time. What it says of how far the run has come stays, and that of a
    run that another process has trained meanwhile, or trains."""
    who = lock.holder(directory)
    if ended(directory) or (who and who.get("pid") != os.getpid()):
        return
    try:
        status = rundir.read_status(directory)
    except (OSError, ValueError):
        rundir.write_first_status(directory, "failed", error)
    else:
        rundir.rewrite_status(directory, status, state="failed", error=error)


def _train(job: Job) -> None:
    config = validate(job.tree)
    saved = _saved(job.directory, config)
    if config.threads is None and job.threads is not None and saved is None:  # else it goes on with as many as before
        config = dataclasses.replace(config, threads=job.threads)
    run(
        config,
        make_directory=lambda files: _fill(job.directory, files, saved),
        diff=yaml_files.differences(job.tree),
        command=job.command,
        console=Console(quiet=True),
        texts={"layers": markdown(describe(config))},
        saved=saved,
    )


def _saved(directory: Path, config: Config) -> dict[str, Any] | None:
    """The checkpoint to go on from, if there is one that can be used."""
    saved, lines = checkpoint.newest(directory, config)
    for line in lines:
        print(line, flush=True)
    return saved


def _fill(directory: Path, files: Mapping[str, str], saved: Mapping[str, Any] | None) -> Path:
    checkpoint.set_aside(directory, saved)
    if saved is not None:
        return rundir.refill(directory, files, saved["step"])
    rundir.clear(directory)
    return rundir.fill(directory, files)


def _end_with(parent: Mapping[str, Any]) -> None:
    """End this process when the one that started it is gone: after its step if that takes no longer than a few seconds.

    Its parent for the system is the fork server, which lives as long as what it has forked.
    """
    while process.alive(parent):
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(5.0)
    os._exit(128 + signal.SIGTERM)
