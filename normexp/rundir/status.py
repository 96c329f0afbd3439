"""Write a run's status.json."""

import errno
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from normexp.rundir import atomic, process
from normexp.rundir.formats import to_json

State = Literal["running", "completed", "diverged", "failed", "interrupted", "killed", "skipped"]


def now() -> str:
    """The current UTC time in ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_status(directory: Path, state: State, error: str | None = None, **values: Any) -> None:
    """Write the status of a run of this process. values: arguments of `status_text`. Raises WriteError."""
    replace_status(directory, status_text(state, error, **values))


def replace_status(directory: Path, text: str) -> None:
    """Replace status.json atomically. On a full disk, overwrite it in place, which needs no space, if necessary without the
    metrics: these are in metrics.jsonl, too."""
    path = directory / "status.json"
    try:
        atomic.write_text(path, text)
    except atomic.WriteError as failure:
        if failure.errno not in (errno.ENOSPC, errno.EDQUOT) or not path.exists():
            raise
        try:
            atomic.write_over(path, text.encode())
        except atomic.WriteError:
            short = {**json.loads(text), "metrics": {}}
            atomic.write_over(path, (json.dumps(short, indent=2) + "\n").encode())


def status_text(
    state: State,
    error: str | None = None,
    *,
    step: int = 0,
    total_steps: int = 0,
    seconds: float = 0.0,
    metrics: Mapping[str, float | None] = {},
    started: str | None = None,
) -> str:
    """Content of status.json for a run of this process, by default one that has not started training."""
    progress = {"state": state, "step": step, "total_steps": total_steps, "seconds": round(seconds, 3)}
    outcome = {"metrics": json.loads(to_json(metrics)), "error": error}
    status = {**progress, **outcome, **process.identity(), "started": started or now()}
    return json.dumps(status, indent=2, allow_nan=False) + "\n"


def rewrite_status(directory: Path, status: Mapping[str, Any], *, state: State, error: str) -> None:
    """Set the state and error of a run whose process could not do so. The rest of its status is kept."""
    kept = {key: status[key] for key in ("step", "total_steps", "seconds", "metrics", "started")}
    write_status(directory, state, error, **kept)
