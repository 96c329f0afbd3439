"""status.json: the state of a run."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from normexp.rundir import atomic, process, safe_read
from normexp.rundir.formats import finite, to_json

State = Literal["running", "completed", "diverged", "failed", "interrupted", "killed", "skipped"]


def now() -> str:
    """When a run or a sweep started, as it is written in its files: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_first_status(directory: Path, state: State, error: str | None = None) -> None:
    """The status of a run that has not trained, or never will."""
    write_status(directory, state=state, step=0, total_steps=0, seconds=0.0, metrics={}, error=error, started=now())


def write_status(
    directory: Path,
    *,
    state: State,
    step: int,
    total_steps: int,
    seconds: float,
    metrics: Mapping[str, float | None],
    error: str | None,
    started: str,
) -> None:
    """Write status.json for a run of this process."""
    replace_status(
        directory,
        status_text(
            state=state,
            step=step,
            total_steps=total_steps,
            seconds=seconds,
            metrics=metrics,
            error=error,
            started=started,
        ),
    )


FULL = (errno.ENOSPC, errno.EDQUOT)


def replace_status(directory: Path, text: str) -> None:
    """status.json, replaced as a whole. On a full disk the old one is written over, which takes no more room, if need be
    without metrics, which stand elsewhere too."""
    path = directory / "status.json"
    try:
        atomic.write_text(path, text)
    except atomic.WriteError as failure:
        if failure.errno not in FULL or not path.exists():
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
    """What status.json holds of a run of this process."""
    status = {
        "state": state,
        "step": step,
        "total_steps": total_steps,
        "seconds": round(seconds, 3),
        "metrics": json.loads(to_json(metrics)),
        "error": error,
        **process.identity(),
        "started": started,
    }
    return json.dumps(status, indent=2, allow_nan=False) + "\n"


MAX_STATUS_BYTES = 30_000_000
"""Bytes: there are networks of many layers with many numbers, but none of so many."""


def read_status(directory: Path) -> dict[str, Any]:
    """status.json of a run directory, but a run that says `running` and whose process is gone has the state `killed`.

    `process_gone` in the result says whether nobody has handled that yet. A value that is missing or of the wrong type is that
    of a run that has not begun; metrics are finite numbers or None. Raises OSError where there is none, ValueError where it is
    not a status.
    """
    try:
        status = json.loads(safe_read.read(directory / "status.json", most=MAX_STATUS_BYTES))
    except RecursionError as error:
        raise ValueError(f"{directory / 'status.json'} is nested too deeply.") from error
    if not isinstance(status, dict) or status.get("state") not in get_args(State):
        raise ValueError(f"{directory / 'status.json'} is not the status of a run.")
    gone = status["state"] == "running" and process.alive(status) is False
    if gone:
        status |= {"state": "killed", "error": "its process is gone"}
    metrics, reason, started = (status.get(key) for key in ("metrics", "error", "started"))
    return {
        **status,
        "process_gone": gone,
        "step": _count(status.get("step")),
        "total_steps": _count(status.get("total_steps")),
        "seconds": finite(status.get("seconds")) or 0.0,
        "metrics": {
            tag: finite(value)
            for tag, value in (metrics.items() if isinstance(metrics, dict) else ())
            if value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        },
        "error": reason if isinstance(reason, str) else None,
        "started": started if isinstance(started, str) else "",
    }


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else 0


def rewrite_status(directory: Path, status: Mapping[str, Any], *, state: State, error: str) -> None:
    """The status of a run that could not write how it ended: as it was, with another state and the reason."""
    kept = {key: status[key] for key in ("step", "total_steps", "seconds", "metrics", "started")}
    write_status(directory, **kept, state=state, error=error)
