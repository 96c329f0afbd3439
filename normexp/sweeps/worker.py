"""The process that trains one run of a sweep. A fork server imports this module once and forks for each run."""

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
from normexp.config import ConfigError, yaml_files
from normexp.rundir import lock, process
from normexp.rundir.atomic import WriteError
from normexp.sweeps.manifest import BUSY, Job, session_path
from normexp.sweeps.outcome import is_finished
from normexp.training import checkpoint
from normexp.training.run import run


def train(job: Job) -> None:
    """Train in the run's existing directory. Output of all libraries and the stack at a crash go to the run's train.log."""
    # Ctrl-C stays blocked: it reaches the driver, which passes it on as SIGTERM.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.chdir(job.session.cwd)
    if job.gpu is not None:  # CUDA reads it on first use, which is in this process
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
        with lock.held(job.directory, driver=job.session.driver) as free:
            if not free:
                sys.exit(BUSY)
            if not is_finished(job.directory):  # another process may have finished it meanwhile
                _train(job)
    except ConfigError as error:
        logging.getLogger("normexp").error(str(error))
        _fail(job.directory, str(error))
        print(error, file=sys.stderr, flush=True)
    except Exception as error:
        traceback.print_exc()
        _fail(job.directory, str(error) if isinstance(error, WriteError) else f"{type(error).__name__}: {error}")


def _fail(directory: Path, error: str) -> None:
    """Record that a run failed before it began to train, unless another process has finished it meanwhile or is training it."""
    who = lock.holder(directory)
    if is_finished(directory) or (who and who.get("pid") != os.getpid()):
        return
    try:
        status = rundir.read_status(directory)
    except (OSError, ValueError):
        rundir.write_status(directory, "failed", error)
    else:
        rundir.rewrite_status(directory, status, state="failed", error=error)


def _train(job: Job) -> None:
    """Train from the newest usable checkpoint, or from the beginning."""
    config = validate(job.tree)
    saved, lines = checkpoint.newest(job.directory, config)
    for line in lines:
        print(line, flush=True)
    if config.threads is None and saved is None:  # a resumed run keeps its number
        config = dataclasses.replace(config, threads=job.session.threads)

    def fill(files: Mapping[str, str]) -> Path:
        checkpoint.set_aside(job.directory, saved)
        if saved is not None:
            return rundir.write_resumed_files(job.directory, files, saved["step"])
        rundir.remove_outputs(job.directory)
        return rundir.write_run_files(job.directory, files)

    result = run(
        config,
        make_directory=fill,
        diff=yaml_files.differences(job.tree),
        command=list(job.session.command),
        console=Console(quiet=True),
        saved=saved,
    )
    driver = job.session.driver
    launching = process.alive(driver) and session_path(job.directory.parent, driver).exists()
    if result.state == "interrupted" and process.alive(job.parent) is False and launching:
        error = "its worker process was killed; retrying"
        rundir.rewrite_status(job.directory, rundir.read_status(job.directory), state="interrupted", error=error)


def _end_with(parent: Mapping[str, Any]) -> None:
    """Stop this process when the one that started it is gone: after its step, or after 5 s at the latest."""
    while process.alive(parent):  # getppid() is that of the fork server, which lives as long as its children
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(5.0)
    os._exit(128 + signal.SIGTERM)
