"""List the runs and sweeps in a folder, one line each."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from normexp.config import show
from normexp.report.aggregate import INCOMPLETE_STATES
from normexp.report.groups import format_value, sort_key
from normexp.report.read import UnreadableRunError, is_searched, natural, read_config, read_status, run_directories
from normexp.rundir import process
from normexp.rundir.reader import displayable_json

KEYS = ("norm", "model", "data")

MAX_VALUES = 5
"""Values of a key that the line of a sweep lists; for more, it says `several`."""

JOB_ID = re.compile(r"[\w+.-]+", re.ASCII)
"""Of Slurm. Checked, because it becomes part of a command that users copy."""


@dataclass(frozen=True)
class Line:
    """A run or sweep. runs: their number; colour: a rich style; jobs: ids of Slurm jobs whose runs have not ended."""

    path: Path
    state: str
    colour: str
    started: datetime
    cells: Mapping[str, str]
    accuracy: str
    runs: int
    jobs: Sequence[str] = ()


@dataclass(frozen=True)
class _Entry:
    directory: Path
    status: Mapping[str, Any]
    config: Mapping[str, Any]
    started: datetime


def list_folder(folder: Path) -> tuple[list[Line], list[str]]:
    """A line for each run or sweep in a folder, newest first, and messages on what can't be read.

    A subfolder counts as a sweep if there are runs anywhere below it.
    """
    left_out: list[str] = []
    seen: set[tuple[int, int]] = set()
    if (folder / "status.json").exists():
        lines = [_line(folder, [folder], left_out)]
    else:
        inside = [path for path in folder.iterdir() if is_searched(path, folder)]
        folders = sorted(inside, key=lambda path: natural(path.name))
        lines = [_line(path, list(run_directories(path, seen, left_out)), left_out) for path in folders]
    return sorted(filter(None, lines), key=lambda line: line.started, reverse=True), left_out


def age(started: datetime, now: datetime) -> str:
    """'3 min', '5 h', '2 days'; 'now' for less than a minute, and if clocks disagree."""
    seconds = (now - started).total_seconds()
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        count = int(seconds // size)
        if count >= 1:
            return f"{count} day" if (count, unit) == (1, "days") else f"{count} {unit}"
    return "now"


def _line(path: Path, directories: Sequence[Path], left_out: list[str]) -> Line | None:
    if list(directories) == [path]:
        entry = _read(path, left_out)
        return _of_run(path, entry) if entry else None
    manifest = displayable_json(path / "sweep.json")
    entries = [entry for directory in directories if (entry := _read(directory, left_out))]
    return _of_sweep(path, entries, manifest) if entries or manifest else None


def _read(directory: Path, left_out: list[str]) -> _Entry | None:
    try:
        status = read_status(directory)
    except UnreadableRunError as error:
        left_out.append(str(error))
        return None
    try:
        config = read_config(directory)
    except UnreadableRunError as error:
        if status["state"] not in ("skipped", "failed"):  # they may end before config.yaml is written
            left_out.append(str(error))
        config = {}
    return _Entry(directory, status, config, _start_time(status.get("started"), directory))


def _of_run(path: Path, entry: _Entry) -> Line:
    state = entry.status["state"]
    shown = state
    if state == "running":
        step, total = entry.status.get("step"), entry.status.get("total_steps")
        if isinstance(step, int) and isinstance(total, int) and 0 <= step <= total != 0:
            shown = f"running, {100 * step // total} %"
        if process.alive(entry.status) is None and entry.status.get("host"):
            shown += f" on {show(entry.status['host'])}"
    cells = {key: format_value(entry.config.get(key)) for key in KEYS}
    return Line(path, shown, _colour([state]), entry.started, cells, _accuracy(entry.status["metrics"]), 1)


def _of_sweep(path: Path, entries: Sequence[_Entry], manifest: Mapping[str, Any]) -> Line:
    states = Counter(entry.status["state"] for entry in entries)
    planned = manifest.get("runs")
    names = {str(name) for name in planned} if isinstance(planned, list) else set()
    unstarted = names - {entry.directory.name for entry in entries}
    total, done = len(entries) + len(unstarted), states["completed"]
    parts = [f"{done} completed" if done == total else f"{done} of {total} completed"]
    parts += [f"{states[state]} {state}" for state in (*INCOMPLETE_STATES, "skipped") if states[state]]
    parts += [f"{len(unstarted)} not begun"] * bool(unstarted)
    accuracies = [entry.status["metrics"].get("test/accuracy") for entry in entries]
    best = max((accuracy for accuracy in accuracies if accuracy is not None), default=None)
    started = max((entry.started for entry in entries), default=_start_time(manifest.get("started"), path))
    return Line(
        path,
        ", ".join(parts) if entries else "no run has begun",
        _colour(states),
        started,
        {key: _joined(entry.config.get(key) for entry in entries) for key in KEYS},
        "-" if best is None else f"best {100 * best:.2f} %",
        len(entries),
        _jobs(manifest.get("slurm"), entries),
    )


def _jobs(known: Any, entries: Sequence[_Entry]) -> list[str]:
    """Ids of Slurm jobs that have not ended, judging by their runs. known: run names by job id, from sweep.json."""
    if not isinstance(known, dict):
        return []
    ended = {entry.directory.name for entry in entries if entry.status["state"] not in ("running", "interrupted")}
    return [job for job, name in known.items() if JOB_ID.fullmatch(job) and str(name) not in ended]


def _joined(values: Iterable[Any]) -> str:
    by_name = {format_value(value): value for value in values if value is not None}
    names = sorted(by_name, key=lambda name: sort_key("norm", by_name[name]))
    return ",".join(names) if 0 < len(names) <= MAX_VALUES else "several" if names else "-"


def _accuracy(metrics: Mapping[str, float | None]) -> str:
    """Test accuracy, or else the last validation accuracy, marked as such."""
    test, val = metrics.get("test/accuracy"), metrics.get("val/accuracy")
    if test is not None:
        return f"{100 * test:.2f} %"
    return "-" if val is None else f"val {100 * val:.2f} %"


def _colour(states: Iterable[str]) -> str:
    states = set(states)
    if states & {"failed", "killed"}:
        return "red"
    if "diverged" in states:
        return "yellow"
    return "cyan" if states & {"running", "interrupted"} else ""


def _start_time(started: Any, path: Path) -> datetime:
    """Start time of a run; if unknown, the last change of its folder."""
    with contextlib.suppress(TypeError, ValueError):
        time = datetime.fromisoformat(started)
        return time if time.tzinfo else time.replace(tzinfo=UTC)
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, ValueError, OverflowError):  # deleted meanwhile, or out of range
        return datetime.fromtimestamp(0, UTC)
