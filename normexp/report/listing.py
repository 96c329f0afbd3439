"""List the runs and sweeps in a folder, one line each."""

import contextlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from normexp.config import ConfigError, printable, show, suggest
from normexp.metrics import format_metric
from normexp.report.aggregate import INCOMPLETE_STATES
from normexp.report.groups import format_value, sort_key
from normexp.report.read import (
    Collection,
    Run,
    UnreadableRunError,
    dropped_runs,
    is_searched,
    natural,
    planned_runs,
    read_config,
    read_status,
    run_directories,
)
from normexp.report.select import select
from normexp.rundir import process
from normexp.rundir.reader import displayable_json

KEYS = ("norm", "model", "data")

ACCURACIES = ("test/accuracy", "val/accuracy")

MAX_VALUES = 5
"""Values of a key to list for a sweep; `several` if there are more."""

MAX_DATA = 3
"""Data sets of a sweep whose accuracies are listed."""

JOB_ID = re.compile(r"[\w+.-]+", re.ASCII)
"""Slurm job ids. Checked, because they become part of a command that users copy."""


@dataclass(frozen=True)
class Line:
    """A run, or a sweep with the runs below it. cells: values of KEYS. runs: empty for a sweep that has not started. jobs: ids
    of Slurm jobs whose runs have not ended."""

    path: Path
    kind: Literal["run", "sweep"]
    state: str
    color: str
    started: datetime
    cells: Sequence[str]
    accuracy: str
    runs: Sequence[Run]
    jobs: Sequence[str] = ()

    def best(self, metric: str) -> float | None:
        """The metric of the run with the best validation accuracy. None for runs on several data sets."""
        values = _best_by_data(self.runs, metric)
        return next(iter(values.values())) if len(values) == 1 else None


def list_folder(folder: Path) -> tuple[list[Line], list[str]]:
    """List the runs and sweeps in a folder, newest first. Also returns a message for each one that can't be read."""
    left_out: list[str] = []
    seen: set[tuple[int, int]] = set()
    is_run = (folder / "status.json").exists()
    dropped = dropped_runs(folder)
    searched = (path for path in folder.iterdir() if is_searched(path, folder) and path.name not in dropped)
    inside = [folder] if is_run else list(searched)
    lines: list[Line] = []
    for path in sorted(inside, key=lambda path: natural(path.name)):
        directories = [folder] if is_run else list(run_directories(path, seen, left_out))
        runs = [run for directory in directories if (run := _read(directory, left_out))]
        if directories == [path]:
            lines += map(_run_line, runs)
        elif (manifest := displayable_json(path / "sweep.json")) or runs:
            lines.append(_sweep_line(path, runs, manifest))
    return sorted(lines, key=lambda line: line.started, reverse=True), left_out


def filter_lines(lines: Sequence[Line], filters: Sequence[str]) -> list[Line]:
    """The lines with a run that passes all filters, such as norm=bn,ln or state=failed; a sweep's line is about these runs only.
    Raises ConfigError, as `select` does."""
    if not filters:
        return list(lines)
    selected = select(Collection([run for line in lines for run in line.runs], []), filters)
    passed = {run.directory for run in selected.runs}
    matching = [(line, [run for run in line.runs if run.directory in passed]) for line in lines]
    return [
        line if line.kind == "run" else replace(_sweep_line(line.path, runs, {}), jobs=line.jobs)
        for line, runs in matching
        if runs
    ]


def sort_lines(lines: Sequence[Line], key: str) -> list[Line]:
    """Sort by a column: the newest and the most accurate first, others in natural order. Raises ConfigError."""
    by: dict[str, Callable[[Line], Any]] = {
        "age": lambda line: -line.started.timestamp(),
        "state": lambda line: natural(line.state),
        "accuracy": lambda line: [-(line.best(tag) or 0.0) for tag in ACCURACIES],
        "path": lambda line: natural(str(line.path)),
    }
    columns = [*by, *KEYS]
    known = [*columns, *sorted({name for line in lines for run in line.runs for name in run.config})]
    if key not in known:
        sortable = f"runs can be sorted by {', '.join(columns)} or a config key"
        raise ConfigError(f"--sort {show(key)}: {sortable}.{suggest(key, known)}")
    return sorted(lines, key=by.get(key, lambda line: natural(_joined(run.config.get(key) for run in line.runs))))


def to_json(lines: Sequence[Line], left_out: Sequence[str]) -> str:
    """The lines as strict JSON. Accuracies are the best of a sweep; null if there are none."""
    entries = []
    for line in lines:
        values = {key: list(dict.fromkeys(format_value(run.config.get(key)) for run in line.runs)) for key in KEYS}
        head = {"path": printable(line.path), "kind": line.kind, "state": line.state}
        counts = {"runs": len(line.runs), "states": Counter(run.state for run in line.runs)}
        accuracies = {tag: line.best(tag) for tag in ACCURACIES}
        started = line.started.isoformat(timespec="seconds")
        entries.append({**head, "started": started, **counts, **values, **accuracies, "slurm_jobs": list(line.jobs)})
    content = {"entries": entries, "left_out": list(left_out)}
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def age(started: datetime, now: datetime) -> str:
    """'3 min', '5 h', '2 days'; 'now' for less than a minute, or a time in the future."""
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


def _run_line(run: Run) -> Line:
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
    return Line(run.directory, "run", state, _color({run.state}), started, cells, accuracy, [run])


def _sweep_line(path: Path, runs: Sequence[Run], manifest: Mapping[str, Any]) -> Line:
    states = Counter(run.state for run in runs)
    slurm = manifest.get("slurm")
    unstarted = planned_runs(manifest) - {run.name for run in runs}
    total, done = len(runs) + len(unstarted) - states["skipped"], states["completed"]
    parts = [f"{done} completed" if done == total else f"{done} of {total} completed"]
    parts += [f"{states[state]} {state}" for state in (*INCOMPLETE_STATES, "skipped") if states[state]]
    parts += [f"{len(unstarted)} not started"] * bool(unstarted)
    state = ", ".join(parts) if runs else "no runs started"
    started = max(_start_time(run.status, run.directory) for run in runs) if runs else _start_time(manifest, path)
    cells = [_joined(run.config.get(key) for run in runs) for key in KEYS]
    ended = {run.name for run in runs if run.state not in ("running", "interrupted")}
    named = slurm.items() if isinstance(slurm, dict) else ()  # names of runs by job id
    jobs = [job for job, name in named if JOB_ID.fullmatch(job) and str(name) not in ended]
    return Line(path, "sweep", state, _color(set(states)), started, cells, _best_accuracy(runs), runs, jobs)


def _best_by_data(runs: Sequence[Run], metric: str) -> dict[str, float]:
    """For each data set, the metric of the run with the best validation accuracy."""
    best: dict[str, float] = {}
    for run in sorted(runs, key=lambda run: run.metrics.get("val/accuracy") or 0.0, reverse=True):
        if (value := run.metrics.get(metric)) is not None:
            best.setdefault(format_value(run.config.get("data")), value)
    return dict(sorted(best.items()))


def _best_accuracy(runs: Sequence[Run]) -> str:
    """'95.56 % (best val)'; one value for each of up to MAX_DATA data sets."""
    values = {data: format_metric(value, "accuracy") for data, value in _best_by_data(runs, "test/accuracy").items()}
    if not values or len(values) > MAX_DATA:
        return "per data set" if values else "-"
    return f"{', '.join(values.values() if len(values) == 1 else map(' '.join, values.items()))} (best val)"


def _joined(values: Iterable[Any]) -> str:
    by_name = {format_value(value): value for value in values if value is not None}
    names = sorted(by_name, key=lambda name: sort_key("norm", by_name[name]))
    return ",".join(names) if 0 < len(names) <= MAX_VALUES else "several" if names else "-"


def _color(states: set[str]) -> str:
    colors = {"failed": "red", "killed": "red", "diverged": "yellow", "running": "cyan", "interrupted": "cyan"}
    return next((color for state, color in colors.items() if state in states), "")


def _start_time(file: Mapping[str, Any], path: Path) -> datetime:
    """Start time from status.json or sweep.json; if it is missing, the modification time of the folder."""
    with contextlib.suppress(KeyError, TypeError, ValueError):
        time = datetime.fromisoformat(file["started"])
        return time if time.tzinfo else time.replace(tzinfo=UTC)
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, ValueError, OverflowError):  # deleted in the meantime, or out of range
        return datetime.fromtimestamp(0, UTC)
