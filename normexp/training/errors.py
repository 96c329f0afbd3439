"""Classify and describe the failures of a run, for its status."""

import math
from collections.abc import Mapping
from typing import Literal

import torch

from normexp.config import Config
from normexp.rundir import atomic

Cause = Literal["memory", "write"]
"""Failures for which advice helps more than a traceback: out of memory, or a file that could not be written."""

OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "bad_alloc", "out of memory", "STATUS_ALLOC_FAILED")
"""Parts of the messages of RuntimeErrors from torch's CPU allocator, C++, CUDA, cuBLAS and cuDNN."""


def cause_of(error: BaseException) -> Cause | None:
    """Classify a failure. Returns None if it is neither kind."""
    if isinstance(error, atomic.WriteError):
        return "write"
    message = str(error) if isinstance(error, RuntimeError) else ""
    exhausted = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return "memory" if exhausted or any(part in message for part in OUT_OF_MEMORY) else None


def describe_error(error: BaseException, config: Config) -> str:
    """Describe a failure for status.json."""
    cause = cause_of(error)
    if cause == "memory":
        parts = f" and accumulate={config.accumulate}" if config.accumulate > 1 else ""
        return f"out of memory at batch_size={config.batch_size}{parts}"
    return str(error) if cause == "write" else f"{type(error).__name__}: {error}"


def non_finite_evaluation(step: int, scalars: Mapping[str, float | None]) -> str | None:
    """Describe a non-finite loss of an evaluation, which covers the last update. Returns None if all are finite."""
    for tag in ("val/loss", "test/loss"):
        loss = scalars.get(tag)
        if loss is not None and not math.isfinite(loss):
            return f"{tag} became {loss} after step {step}"
    return None


def non_finite_loss(step: int, losses: list[float]) -> str | None:
    """Describe the first non-finite loss of the steps up to `step`. Returns None if all are finite."""
    for number, loss in enumerate(losses, start=step - len(losses) + 1):
        if not math.isfinite(loss):
            return f"the loss became {loss} in step {number}"
    return None
