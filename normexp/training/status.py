"""The status of the run that this process trains, and how its errors are described there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import torch

from normexp import rundir
from normexp.config import Config
from normexp.rundir import atomic
from normexp.training.state import TrainState


class StatusWriter:
    """Writes status.json. seconds, started: how long the run was trained before it was resumed, and since when."""

    def __init__(self, train_state: TrainState, *, seconds: float = 0.0, started: str | None = None) -> None:
        self._train_state, self._start = train_state, time.monotonic() - seconds
        self.started = started or rundir.now()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    def write(self, directory: Path, state: rundir.State, error: str | None = None) -> None:
        rundir.replace_status(directory, self.text(state, error))

    def text(self, state: rundir.State, error: str | None = None) -> str:
        return rundir.status_text(
            state=state,
            step=self._train_state.step,
            total_steps=self._train_state.total_steps,
            seconds=self.seconds,
            metrics=self._train_state.scalars,
            error=error,
            started=self.started,
        )


Cause = Literal["memory", "write"]
"""Failures that need other advice than a traceback: out of memory, or a file that could not be written."""

OUT_OF_MEMORY_MESSAGES = (
    "can't allocate memory",
    "not enough memory",
    "bad_alloc",
    "out of memory",
    "STATUS_ALLOC_FAILED",
)
"""Parts of the messages of RuntimeErrors from torch's CPU allocator, C++, CUDA, cuBLAS and cuDNN."""


def cause_of(error: BaseException) -> Cause | None:
    """Classify a failure. Returns None for any other kind."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return "memory"
    if isinstance(error, RuntimeError) and any(message in str(error) for message in OUT_OF_MEMORY_MESSAGES):
        return "memory"
    return "write" if isinstance(error, atomic.WriteError) else None


def describe_error(error: BaseException, config: Config) -> str:
    """The error as one sentence of a status."""
    match cause_of(error):
        case "memory":
            return f"out of memory at batch_size={config.batch_size}"
        case "write":
            return str(error)
    return f"{type(error).__name__}: {error}"
