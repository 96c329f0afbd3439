"""Write status.json, the state of a run."""

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
    """The current time as written to files: ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_first_status(directory: Path, state: State, error: str | None = None) -> None:
    """Write the status of a run that has not started training, or never will."""
    write_status(directory, state=state, step=0, total_steps=0, seconds=0.0, metrics={}, error=error, started=now())


def write_status(directory: Path, **values: Any) -> None:
    """Write the status of a run of this process. values: as for `status_text`. Raises WriteError."""
    replace_status(directory, status_text(**values))


def replace_status(directory: Path, text: str) -> None:
    """Replace status.json atomically. On a full disk, overwrite the old one, which needs no more space, if necessary without the
    metrics, which metrics.jsonl has too."""
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
    *,
    state: State,
    step: int,
    total_steps: int,
    seconds: float,
    metrics: Mapping[str, float | None],
    error: str | None,
    started: str,
) -> str:
    """Content of status.json for a run of this process."""
    progress = {"state": state, "step": step, "total_steps": total_steps, "seconds": round(seconds, 3)}
    outcome = {"metrics": json.loads(to_json(metrics)), "error": error}
    return (
        json.dumps({**progress, **outcome, **process.identity(), "started": started}, indent=2, allow_nan=False) + "\n"
    )


def rewrite_status(directory: Path, status: Mapping[str, Any], *, state: State, error: str) -> None:
    """Set state and error of a run that could not write them itself. The rest of its status stays."""
    kept = {key: status[key] for key in ("step", "total_steps", "seconds", "metrics", "started")}
    write_status(directory, **kept, state=state, error=error)
