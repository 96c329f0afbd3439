"""List the runs and sweeps in a folder, one line each."""

import contextlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from normexp.config import show
from normexp.metrics import format_metric
from normexp.report.aggregate import INCOMPLETE_STATES
from normexp.report.groups import format_value, sort_key
from normexp.report.read import Run, UnreadableRunError, is_searched, natural, read_config, read_status, run_directories
from normexp.rundir import process
from normexp.rundir.reader import displayable_json

KEYS = ("norm", "model", "data")

MAX_VALUES = 5
"""Values of a key that the line of a sweep lists; for more, it says `several`."""

JOB_ID = re.compile(r"[\w+.-]+", re.ASCII)
"""Of Slurm. Checked, because it becomes part of a command that users copy."""


@dataclass(frozen=True)
class Line:
    """A run or sweep. cells: values of KEYS; runs: their number; jobs: ids of Slurm jobs whose runs have not ended."""

    path: Path
    state: str
    colour: str
    started: datetime
    cells: Sequence[str]
    accuracy: str
    runs: int
    jobs: Sequence[str] = ()


def list_folder(folder: Path) -> tuple[list[Line], list[str]]:
    """A line for each run or sweep in a folder, newest first, and messages on what can't be read. A sweep has runs below it."""
    left_out: list[str] = []
    seen: set[tuple[int, int]] = set()
    is_run = (folder / "status.json").exists()
    inside = [folder] if is_run else [path for path in folder.iterdir() if is_searched(path, folder)]
    lines: list[Line] = []
    for path in sorted(inside, key=lambda path: natural(path.name)):
        directories = [folder] if is_run else list(run_directories(path, seen, left_out))
        runs = [run for directory in directories if (run := _read(directory, left_out))]
        if directories == [path]:
            lines += map(_line_of_run, runs)
        elif (manifest := displayable_json(path / "sweep.json")) or runs:
            lines.append(_line_of_sweep(path, runs, manifest))
    return sorted(lines, key=lambda line: line.started, reverse=True), left_out


def age(started: datetime, now: datetime) -> str:
    """'3 min', '5 h', '2 days'; 'now' for less than a minute, and if clocks disagree."""
    seconds = (now - started).total_seconds()
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if count := max(0, int(seconds // size)):
            return "1 day" if (count, unit) == (1, "days") else f"{count} {unit}"
    return "now"


def _read(directory: Path, left_out: list[str]) -> Run | None:
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
    return Run(directory, directory.name, status["state"], config, status["metrics"], status)


def _line_of_run(run: Run) -> Line:
    state = run.state
    if state == "running":
        step, total = run.status["step"], run.status["total_steps"]
        if step <= total != 0:
            state = f"running, {100 * step // total} %"
        if process.alive(run.status) is None and run.status.get("host"):
            state += f" on {show(run.status['host'])}"
    cells = [format_value(run.config.get(key)) for key in KEYS]
    started = _start_time(run.status, run.directory)
    accuracy, val = format_metric(run.metrics.get("test/accuracy"), "accuracy"), run.metrics.get("val/accuracy")
    if accuracy == "-" and val is not None:
        accuracy = f"val {format_metric(val, 'accuracy')}"
    return Line(run.directory, state, _colour({run.state}), started, cells, accuracy, 1)


def _line_of_sweep(path: Path, runs: Sequence[Run], manifest: Mapping[str, Any]) -> Line:
    states = Counter(run.state for run in runs)
    planned, slurm = manifest.get("runs"), manifest.get("slurm")
    unstarted = {str(name) for name in planned} if isinstance(planned, list) else set()
    unstarted -= {run.name for run in runs}
    total, done = len(runs) + len(unstarted), states["completed"]
    parts = [f"{done} completed" if done == total else f"{done} of {total} completed"]
    parts += [f"{states[state]} {state}" for state in (*INCOMPLETE_STATES, "skipped") if states[state]]
    parts += [f"{len(unstarted)} not begun"] * bool(unstarted)
    state = ", ".join(parts) if runs else "no run has begun"
    started = max(_start_time(run.status, run.directory) for run in runs) if runs else _start_time(manifest, path)
    cells = [_joined(run.config.get(key) for run in runs) for key in KEYS]
    accuracies = [accuracy for run in runs if (accuracy := run.metrics.get("test/accuracy")) is not None]
    best = f"best {format_metric(max(accuracies), 'accuracy')}" if accuracies else "-"
    ended = {run.name for run in runs if run.state not in ("running", "interrupted")}
    named = slurm.items() if isinstance(slurm, dict) else ()  # names of runs by job id
    jobs = [job for job, name in named if JOB_ID.fullmatch(job) and str(name) not in ended]
    return Line(path, state, _colour(set(states)), started, cells, best, len(runs), jobs)


def _joined(values: Iterable[Any]) -> str:
    by_name = {format_value(value): value for value in values if value is not None}
    names = sorted(by_name, key=lambda name: sort_key("norm", by_name[name]))
    return ",".join(names) if 0 < len(names) <= MAX_VALUES else "several" if names else "-"


def _colour(states: set[str]) -> str:
    colours = {"failed": "red", "killed": "red", "diverged": "yellow", "running": "cyan", "interrupted": "cyan"}
    return next((colour for state, colour in colours.items() if state in states), "")


def _start_time(file: Mapping[str, Any], path: Path) -> datetime:
    """Start time by a status.json or sweep.json; if unknown, the last change of the folder."""
    with contextlib.suppress(KeyError, TypeError, ValueError):
        time = datetime.fromisoformat(file["started"])
        return time if time.tzinfo else time.replace(tzinfo=UTC)
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, ValueError, OverflowError):  # deleted meanwhile, or out of range
        return datetime.fromtimestamp(0, UTC)
