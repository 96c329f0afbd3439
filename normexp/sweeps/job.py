"""What a worker process is to train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUSY = 75
"""Exit code of a process that finds another one training its run (EX_TEMPFAIL of sysexits.h)."""


@dataclass(frozen=True)
class Job:
    """What to train, and where. tree: the composed config. threads: where it leaves them open. cwd: for relative paths. driver,
    parent: the processes that launched the sweep, and that started this run's. gpu: the only one that the run may see, as a
    value of CUDA_VISIBLE_DEVICES; None leaves that variable as it is."""

    directory: Path
    tree: Mapping[str, Any]
    command: list[str]
    threads: int | None
    cwd: str
    driver: Mapping[str, Any]
    parent: Mapping[str, Any]
    gpu: str | None = None
