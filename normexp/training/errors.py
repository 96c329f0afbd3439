"""How a run's failures are classified and described in its status."""

from typing import Literal

import torch

from normexp.config import Config
from normexp.rundir import atomic

Cause = Literal["memory", "write"]
"""Failures that need other advice than a traceback: out of memory, or a file that could not be written."""

OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "bad_alloc", "out of memory", "STATUS_ALLOC_FAILED")
"""Parts of the messages of RuntimeErrors from torch's CPU allocator, C++, CUDA, cuBLAS and cuDNN."""


def cause_of(error: BaseException) -> Cause | None:
    """Classify a failure. Returns None for any other kind."""
    if isinstance(error, atomic.WriteError):
        return "write"
    message = str(error) if isinstance(error, RuntimeError) else ""
    exhausted = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return "memory" if exhausted or any(part in message for part in OUT_OF_MEMORY) else None


def describe_error(error: BaseException, config: Config) -> str:
    """The error as one sentence of a status."""
    cause = cause_of(error)
    if cause == "memory":
        return f"out of memory at batch_size={config.batch_size}"
    return str(error) if cause == "write" else f"{type(error).__name__}: {error}"
