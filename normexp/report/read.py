"""Run directories, as a report sees them: found below folders, read cheaply, the damaged ones left out with a sentence."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normexp import rundir
from normexp.config import ConfigError, nearest, show
from normexp.report.files import read_config, read_status
from normexp.rundir import safe_read
from normexp.rundir.safe_read import printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NUMBER = re.compile(r"(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)")

SIGNS = ("metrics.jsonl", "config_diff.yaml")
"""Files that only a run directory has; one that has them and no status.json is a damaged one."""


MOST_LOGGED = 2**31
"""Bytes of a metrics.jsonl: a hundred times those of a long run that is looked at often."""


@dataclass(frozen=True)
class Run:
    """A run directory: what it is, what became of it, and the final value of each scalar."""

    directory: Path
    name: str
    """The path relative to the folder that was asked for; the folder's own name where it is the run itself."""
    state: str
    """A rundir.State."""
    config: Mapping[str, Any]
    """Flat: {"norm": "bn", "norm.eps": 1e-5, "lr": 0.1, ...}; empty for a skipped run that has none. Its `numerics`
    (normexp.NUMERICS) is among the keys, so that runs of versions whose numbers differ are never averaged."""
    metrics: Mapping[str, float | None]
    status: Mapping[str, Any]


@dataclass(frozen=True)
class Collection:
    """The runs below some folders, in the natural order of their names (lr=2 before lr=10)."""

    runs: list[Run]
    left_out: list[str]
    """Sentences: what could not be read, and why."""


@dataclass(frozen=True)
class Curve:
    """A scalar over the steps, which rise; NaN where it was null or not finite. Both of shape (entries,)."""

    steps: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """Some scalars of a run, by tag, and how many lines of its metrics.jsonl could not be read."""

    by_tag: Mapping[str, Curve]
    bad_lines: int


def read(paths: Sequence[Path]) -> Collection:
    """All runs in the folders and below them, each once. Reads status.json and config.yaml alone.

    Where two folders have the same run, each config gets a key `folder`, which tells them apart in tables.
    Raises ConfigError where a path is no folder, or has no runs.
    """
    found: list[tuple[Path, Run]] = []
    left_out: list[str] = []
    seen: set[tuple[int, int]] = set()
    for path in paths:
        try:
            _check_folder(path)
        except OSError as error:
            raise ConfigError(f"{show(path)} can't be opened ({error.strerror}).") from error
        before = len(found), len(left_out), len(seen)
        for directory in run_directories(path, seen, left_out):
            name = printable(directory.relative_to(path) if directory != path else directory.resolve().name)
            run = read_run(directory, name)
            if isinstance(run, str):
                left_out.append(run)
            else:
                found.append((path, run))
        if (len(found), len(left_out), len(seen)) == before:
            continue  # a folder that was named twice, or lies in another
        if len(found) == before[0]:
            reason = f" {left_out[before[1]]}" if len(left_out) > before[1] else ""
            hint = (
                reason
                or " A run directory has a status.json; normexp train makes them, in runs/ if not told otherwise."
            )
            raise ConfigError(f"There are no runs {'that can be read ' if reason else ''}in {show(path)}.{hint}")
    runs = _tell_apart(found) if len(paths) > 1 else [run for _, run in found]
    return Collection(sorted(runs, key=lambda run: natural(run.name)), left_out)


def natural(text: str) -> list[tuple[float, str]]:
    """A key that sorts the numbers in texts by their value."""
    parts = NUMBER.split(text)
    return [(float(part), "") if odd % 2 else (0.0, part) for odd, part in enumerate(parts)]


def run_directories(path: Path, seen: set[tuple[int, int]], left_out: list[str]) -> Iterator[Path]:
    """The run directories in a folder and below it; those that begin with a dot are passed by. Grows `seen`, so that a folder
    that two links lead to is read once, and `left_out`."""
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        try:
            where = folder.stat()
            if (where.st_dev, where.st_ino) in seen:
                continue
            seen.add((where.st_dev, where.st_ino))
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            left_out.append(f"{printable(folder)} can't be opened ({error.strerror}).")
            continue
        names = {entry.name for entry in listed}
        if "status.json" in names:
            yield folder
        elif names & set(SIGNS):
            left_out.append(f"{printable(folder)} has no status.json.")
        else:
            waiting += [Path(entry) for entry in listed if leads_on(entry, path)]


def leads_on(entry: os.DirEntry[str] | Path, start: Path) -> bool:
    """Whether to look for runs there: in a folder, but not where a link leads to one that `start` lies in (a link to / would
    have the whole disk searched), nor in those that begin with a dot."""
    try:
        above = entry.is_symlink() and start.resolve().is_relative_to(Path(entry).resolve())
        return not entry.name.startswith(".") and entry.is_dir() and not above
    except (OSError, RuntimeError):  # a link to itself, or to where one may not look
        return False


def curves(run: Run, wanted: Callable[[str], bool]) -> Curves:
    """The scalars of a run whose tags are wanted, from one pass over its metrics.jsonl.

    A line that a kill cut short is left out and counted. Of a step that was logged twice (before a kill and after going on)
    the later entry counts. Empty where there is no file.
    """
    import numpy as np
    import orjson

    try:
        lines = safe_read.read(run.directory / "metrics.jsonl", most=MOST_LOGGED).split(b"\n")
    except FileNotFoundError:
        return Curves({}, 0)
    except OSError:
        return Curves({}, 1)
    columns: dict[str, tuple[list[int], list[float]] | None] = {}
    bad_lines = 0
    for line in filter(None, lines):
        try:
            entry = orjson.loads(line)
            step = entry["step"]
        except (ValueError, TypeError, KeyError):
            bad_lines += 1
            continue
        if type(step) is not int or not 0 <= step < 2**63:
            bad_lines += 1
            continue
        for tag, value in entry.items():
            if tag not in columns:
                columns[tag] = ([], []) if tag not in ("step", "nonfinite") and wanted(tag) else None
            column = columns[tag]
            if column is not None and (value is None or type(value) is float or type(value) is int):
                column[0].append(step)
                column[1].append(float("nan") if value is None else value)
    by_tag = {}
    for tag, column in columns.items():
        if column is not None and column[0]:
            steps, values = np.array(column[0], dtype=np.int64), np.array(column[1], dtype=np.float64)
            if not (np.diff(steps) > 0).all():
                steps, last = np.unique(steps[::-1], return_index=True)
                values = values[::-1][last]
            by_tag[printable(tag)] = Curve(steps, values)
    return Curves(by_tag, bad_lines)


def _check_folder(path: Path) -> None:
    if path.is_dir():
        return
    if path.exists():
        raise ConfigError(f"{show(path)} is a file: name the folder of a run, or of a sweep.")
    near = ""
    if path.parent.is_dir():
        near = nearest(path.name, sorted(printable(entry.name) for entry in path.parent.iterdir() if entry.is_dir()))
    raise ConfigError(f"There is no folder {show(path)}.{near or ' Name the folder of a run, or of a sweep.'}")


def read_run(directory: Path, name: str) -> Run | str:
    """The run of a directory, from its status.json, config.yaml and environment.json; a sentence if the first two can't be
    read."""
    status = read_status(directory)
    if isinstance(status, str):
        return status
    config = read_config(directory)
    if isinstance(config, str):
        if status["state"] != "skipped":
            return f"{config[:-1]} (state: {status['state']})."
        config = {}
    if config:
        config["numerics"] = rundir.numerics(directory)
    return Run(directory, name, status["state"], config, status["metrics"], status)


def _tell_apart(found: Sequence[tuple[Path, Run]]) -> list[Run]:
    """The runs of several folders. Where two folders have a run of the same name or of the same config and seed, each run's name
    begins with its folder, which is a key of its config as well."""
    owners: dict[object, Path] = {}
    for path, run in found:
        same = [(key, repr(value)) for key, value in run.config.items() if key not in ("name", "runs_dir", "data_dir")]
        if any(owners.setdefault(mark, path) != path for mark in (run.name, tuple(sorted(same)))):
            break
    else:
        return [run for _, run in found]
    return [
        replace(
            run,
            name=printable(path / run.name),
            config={**run.config, "folder": printable(path)} if run.config else {},
        )
        for path, run in found
    ]
