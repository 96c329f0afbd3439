"""The description of a run that a worker process trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUSY = 75
"""Exit code of a worker whose run is being trained by another process (EX_TEMPFAIL of sysexits.h)."""


@dataclass(frozen=True)
class Job:
    """A run to train.

    tree: the composed config. threads: the default if the config has none. cwd: the folder that relative paths refer to.
    driver: the process that launched the sweep. parent: the process that starts the worker. gpu: the only one that the run may
    use, as a value of CUDA_VISIBLE_DEVICES; None leaves the variable unchanged.
    """

    directory: Path
    tree: Mapping[str, Any]
    command: list[str]
    threads: int | None
    cwd: str
    driver: Mapping[str, Any]
    parent: Mapping[str, Any]
    gpu: str | None = None
