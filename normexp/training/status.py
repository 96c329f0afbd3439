"""How a run stands, and what went wrong with it, as its status.json says it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import torch

from normexp import rundir
from normexp.config import Config
from normexp.rundir import atomic
from normexp.training.state import TrainState


class Status:
    """seconds, started: of the run before this process took it up, where another one began it."""

    def __init__(self, course: TrainState, *, seconds: float = 0.0, started: str | None = None) -> None:
        self._course, self._began = course, time.monotonic() - seconds
        self.started = started or rundir.now()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def write(self, directory: Path, state: rundir.State, error: str | None = None) -> None:
        rundir.replace_status(directory, self.text(state, error))

    def text(self, state: rundir.State, error: str | None = None) -> str:
        return rundir.status_text(
            state=state,
            step=self._course.step,
            total_steps=self._course.total_steps,
            seconds=self.seconds,
            metrics=self._course.scalars,
            error=error,
            started=self.started,
        )


Cause = Literal["memory", "write"]
"""Failures for which other advice than a traceback helps: too little memory, a file that could not be written."""

SAY_SO = ("can't allocate memory", "not enough memory", "bad_alloc", "out of memory", "STATUS_ALLOC_FAILED")
"""What is in torch's errors, beside those of a kind of their own: of the CPU's allocator, C++, CUDA, cuBLAS and cuDNN."""


def cause_of(error: BaseException) -> Cause | None:
    """The kind of a failure. Returns None for any other kind."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return "memory"
    if isinstance(error, RuntimeError) and any(words in str(error) for words in SAY_SO):
        return "memory"
    return "write" if isinstance(error, atomic.WriteError) else None


def sentence(error: BaseException, config: Config) -> str:
    """What went wrong, for a status."""
    match cause_of(error):
        case "memory":
            return f"out of memory at batch_size={config.batch_size}"
        case "write":
            return str(error)
    return f"{type(error).__name__}: {error}"
