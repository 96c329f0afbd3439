"""What a folder has of runs and sweeps, each in one line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from normexp.config import show
from normexp.report.aggregate import ENDS
from normexp.report.files import read_config, read_json, read_status
from normexp.report.groups import rank, word
from normexp.report.read import leads_on, natural, run_directories
from normexp.rundir import process

KEYS = ("norm", "model", "data")

SEVERAL = 5
"""Values of a key from which on a sweep's line says `several`."""


JOB = re.compile(r"[\w+.-]+", re.ASCII)
"""The id of a job."""


@dataclass(frozen=True)
class Line:
    """A run or a sweep. runs: 1 for a run; colour: a style of rich's; jobs: ids of jobs of Slurm's whose runs have not ended."""

    path: Path
    state: str
    colour: str
    began: datetime
    cells: Mapping[str, str]
    accuracy: str
    runs: int
    jobs: Sequence[str] = ()


@dataclass(frozen=True)
class _Entry:
    directory: Path
    status: Mapping[str, Any]
    config: Mapping[str, Any]
    began: datetime


def list_folder(folder: Path) -> tuple[list[Line], list[str]]:
    """The runs in a folder and, for each folder in it that has runs below it, one line for all of them; the newest first.
    With sentences on what can't be read."""
    left_out: list[str] = []
    seen: set[tuple[int, int]] = set()
    if (folder / "status.json").exists():
        lines = [_line(folder, [folder], left_out)]
    else:
        inside = [path for path in folder.iterdir() if leads_on(path, folder)]
        folders = sorted(inside, key=lambda path: natural(path.name))
        lines = [_line(path, list(run_directories(path, seen, left_out)), left_out) for path in folders]
    return sorted(filter(None, lines), key=lambda line: line.began, reverse=True), left_out


def age(began: datetime, now: datetime) -> str:
    """'3 min', '5 h', '2 days'; 'now' for less than a minute, and for clocks that disagree."""
    seconds = (now - began).total_seconds()
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        count = int(seconds // size)
        if count >= 1:
            return f"{count} day" if (count, unit) == (1, "days") else f"{count} {unit}"
    return "now"


def _line(path: Path, directories: Sequence[Path], left_out: list[str]) -> Line | None:
    if list(directories) == [path]:
        entry = _read(path, left_out)
        return _of_run(path, entry) if entry else None
    about = read_json(path / "sweep.json")
    entries = [entry for directory in directories if (entry := _read(directory, left_out))]
    return _of_sweep(path, entries, about) if entries or about else None


def _read(directory: Path, left_out: list[str]) -> _Entry | None:
    status = read_status(directory)
    if isinstance(status, str):
        left_out.append(status)
        return None
    config = read_config(directory)
    if isinstance(config, str):
        if status["state"] not in ("skipped", "failed"):  # these may end before there is one
            left_out.append(config)
        config = {}
    return _Entry(directory, status, config, _began(status.get("started"), directory))


def _of_run(path: Path, entry: _Entry) -> Line:
    state = entry.status["state"]
    shown = state
    if state == "running":
        step, total = entry.status.get("step"), entry.status.get("total_steps")
        if isinstance(step, int) and isinstance(total, int) and 0 <= step <= total != 0:
            shown = f"running, {100 * step // total} %"
        if process.alive(entry.status) is None and entry.status.get("host"):
            shown += f" on {show(entry.status['host'])}"
    cells = {key: word(entry.config.get(key)) for key in KEYS}
    return Line(path, shown, _colour([state]), entry.began, cells, _accuracy(entry), 1)


def _of_sweep(path: Path, entries: Sequence[_Entry], about: Mapping[str, Any]) -> Line:
    states = Counter(entry.status["state"] for entry in entries)
    planned = about.get("runs")
    names = {str(name) for name in planned} if isinstance(planned, list) else set()
    unstarted = names - {entry.directory.name for entry in entries}
    total, done = len(entries) + len(unstarted), states["completed"]
    parts = [f"{done} completed" if done == total else f"{done} of {total} completed"]
    parts += [f"{states[state]} {state}" for state in (*ENDS, "skipped") if states[state]]
    parts += [f"{len(unstarted)} not begun"] * bool(unstarted)
    shares = [value for entry in entries if (value := _final(entry, "test/accuracy")) is not None]
    began = max((entry.began for entry in entries), default=_began(about.get("started"), path))
    return Line(
        path,
        ", ".join(parts) if entries else "no run has begun",
        _colour(states),
        began,
        {key: _joined(entry.config.get(key) for entry in entries) for key in KEYS},
        f"best {100 * max(shares):.2f} %" if shares else "-",
        len(entries),
        _jobs(about.get("slurm"), entries),
    )


def _jobs(known: Any, entries: Sequence[_Entry]) -> list[str]:
    """The jobs, by their ids, that still wait or run, as far as the runs tell: a sweep's file has the run of each job."""
    if not isinstance(known, dict):
        return []
    ended = {entry.directory.name for entry in entries if entry.status["state"] not in ("running", "interrupted")}
    return [job for job, name in known.items() if JOB.fullmatch(job) and str(name) not in ended]


def _joined(values: Iterable[Any]) -> str:
    found = {word(value): value for value in values if value is not None}
    names = sorted(found, key=lambda name: rank("norm", found[name]))
    return ",".join(names) if 0 < len(names) <= SEVERAL else "several" if names else "-"


def _accuracy(entry: _Entry) -> str:
    """The test accuracy; before there is one, that of the last validation, marked."""
    test, val = _final(entry, "test/accuracy"), _final(entry, "val/accuracy")
    if test is not None:
        return f"{100 * test:.2f} %"
    return "-" if val is None else f"val {100 * val:.2f} %"


def _final(entry: _Entry, tag: str) -> float | None:
    value: float | None = entry.status["metrics"].get(tag)
    return value


def _colour(states: Iterable[str]) -> str:
    states = set(states)
    if states & {"failed", "killed"}:
        return "red"
    if "diverged" in states:
        return "yellow"
    return "cyan" if states & {"running", "interrupted"} else ""


def _began(started: Any, path: Path) -> datetime:
    """When a run began; where it doesn't say, when its folder last changed."""
    try:
        began = datetime.fromisoformat(started)
    except (TypeError, ValueError):
        pass
    else:
        return began if began.tzinfo else began.replace(tzinfo=UTC)
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, ValueError, OverflowError):  # gone by now, or no year of any calendar
        return datetime.fromtimestamp(0, UTC)
