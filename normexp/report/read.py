"""Find runs below folders and read them. Runs that can't be read are left out with a message."""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normexp import rundir
from normexp.compose.choices import with_later_keys
from normexp.config import ConfigError, flatten, name_own_choices, printable, show, suggest_folder
from normexp.rundir import reader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NUMBER = re.compile(r"(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)")

RUN_FILES = {"metrics.jsonl", "config_diff.yaml"}
"""Files that only run directories have. A folder that has them but no status.json is a damaged run."""


class UnreadableRunError(ValueError):
    """A file of a run directory is missing or damaged. str() is a sentence that names it."""


@dataclass(frozen=True)
class Run:
    """A run directory: config, state (a rundir.State) and final metrics. name: path relative to the folder that was searched,
    or the folder's own name if it is the run itself. config: flat, such as {"norm": "bn", "norm.eps": 1e-5}; empty for a
    skipped run without one. It contains `numerics` (normexp.NUMERICS), so that runs of versions whose numbers differ are never
    averaged."""

    directory: Path
    name: str
    state: str
    config: Mapping[str, Any]
    metrics: Mapping[str, float | None]
    status: Mapping[str, Any]


@dataclass(frozen=True)
class Collection:
    """The runs below some folders, by name (lr=2 before lr=10), and a sentence for each run or folder that can't be read.
    not_started: number of planned runs of sweeps that have no folder yet."""

    runs: list[Run]
    left_out: list[str]
    not_started: int = 0


@dataclass(frozen=True)
class Curve:
    """A scalar over training. steps: ascending. values: NaN for null and non-finite entries. Both have shape (entries,)."""

    steps: NDArray[np.int64]
    values: NDArray[np.float64]


def read(paths: Sequence[Path]) -> Collection:
    """All runs in the folders and below them, each once. Does not read metrics.jsonl. If two folders have the same run, each
    config gets a key `folder`, which distinguishes them in tables. Raises ConfigError if a path is not a folder, or has no
    runs."""
    runs: list[tuple[Path, Run]] = []
    left_out: list[str] = []
    seen: set[tuple[int, int]] = set()
    for path in paths:
        _check_folder(path)
        before = len(runs), len(left_out), len(seen)
        for directory in run_directories(path, seen, left_out):
            name = printable(directory.relative_to(path) if directory != path else directory.resolve().name)
            try:
                runs.append((path, read_run(directory, name)))
            except UnreadableRunError as error:
                left_out.append(str(error))
        if (len(runs), len(left_out), len(seen)) == before:
            continue  # named twice, or inside another of the folders
        if len(runs) == before[0]:
            where = f"in {show(path)}."
            if len(left_out) > before[1]:
                raise ConfigError(f"No readable runs {where} {left_out[before[1]]}")
            if planned := len(planned_runs(reader.displayable_json(path / "sweep.json"))):
                count = f"{planned} {'run' if planned == 1 else 'runs'}, none started yet"
                raise ConfigError(f"{show(path)}: {count}; normexp resume {shlex.quote(printable(path))} trains them.")
            hint = "Run directories contain a status.json; normexp train creates them in runs/ by default."
            raise ConfigError(f"No runs {where} {hint}")
    unique = _disambiguate(runs) if len(paths) > 1 else [run for _, run in runs]
    sweeps = {run.directory.parent for _, run in runs if run.directory not in paths}
    return Collection(sorted(unique, key=lambda run: natural(run.name)), left_out, sum(map(_count_not_started, sweeps)))


def planned_runs(manifest: Mapping[str, Any]) -> set[str]:
    """Names of the runs of a sweep, from its sweep.json."""
    planned = manifest.get("runs")
    return set(map(str, planned)) if isinstance(planned, list) else set()


def _count_not_started(folder: Path) -> int:
    planned = planned_runs(reader.displayable_json(folder / "sweep.json"))
    return len(planned - {entry.name for entry in folder.iterdir()}) if planned else 0


def natural(text: str) -> list[tuple[float, str]]:
    """Sort key that orders the numbers in strings by value."""
    parts = NUMBER.split(text)
    return [(float(part), "") if odd % 2 else (0.0, part) for odd, part in enumerate(parts)]


def run_directories(path: Path, seen: set[tuple[int, int]], left_out: list[str]) -> Iterator[Path]:
    """The run directories in a folder and below it. Adds folders to `seen`, to read none twice, and problems to `left_out`."""
    pending = [path]
    while pending:
        folder = pending.pop()
        try:
            stat = folder.stat()
            if (stat.st_dev, stat.st_ino) in seen:
                continue
            seen.add((stat.st_dev, stat.st_ino))
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            left_out.append(f"{printable(folder)} can't be opened ({error.strerror}).")
            continue
        names = {entry.name for entry in entries}
        if "status.json" in names:
            yield folder
        elif names & RUN_FILES:
            left_out.append(f"{printable(folder)} has no status.json.")
        else:
            dropped = dropped_runs(folder) if "sweep.json" in names else []
            pending += [Path(entry) for entry in entries if is_searched(entry, path) and entry.name not in dropped]


def dropped_runs(folder: Path) -> Sequence[str]:
    """Names of skipped runs that the last command of the sweep in a folder no longer asked for."""
    names = reader.displayable_json(folder / "sweep.json").get("dropped")
    return names if isinstance(names, list) else []


def is_searched(entry: os.DirEntry[str] | Path, start: Path) -> bool:
    """Whether to search an entry for runs: a folder, not hidden, and not a link to a parent of `start`, such as the disk."""
    try:
        above = entry.is_symlink() and start.resolve().is_relative_to(Path(entry).resolve())
        return not entry.name.startswith(".") and entry.is_dir() and not above
    except (OSError, RuntimeError):  # a link to itself, or no permission
        return False


def curves(run: Run, wanted: Callable[[str], bool]) -> tuple[dict[str, Curve], int]:
    """The run's scalars whose tags are wanted, from one pass over metrics.jsonl, and the number of damaged lines in it, as a kill
    leaves them. If a step was logged twice, before a kill and after resuming, the later entry counts."""
    import numpy as np

    columns: dict[str, tuple[list[int], list[float]] | None] = {"step": None, "nonfinite": None}
    bad_lines = 0
    try:
        for entry in reader.metric_entries(run.directory):
            if entry is None:
                bad_lines += 1
                continue
            step = entry["step"]
            for tag, value in entry.items():
                if tag not in columns:
                    columns[tag] = ([], []) if wanted(tag) else None
                column = columns[tag]
                if column is not None and (value is None or type(value) is float or type(value) is int):
                    column[0].append(step)
                    column[1].append(math.nan if value is None else value)
    except OSError as error:
        return {}, (0 if isinstance(error, FileNotFoundError) else 1)
    by_tag = {}
    for tag, column in columns.items():
        if column is not None and column[0]:
            steps, values = np.array(column[0], dtype=np.int64), np.array(column[1], dtype=np.float64)
            if not (np.diff(steps) > 0).all():
                steps, last = np.unique(steps[::-1], return_index=True)
                values = values[::-1][last]
            by_tag[printable(tag)] = Curve(steps, values)
    return by_tag, bad_lines


def _check_folder(path: Path) -> None:
    try:
        if path.is_dir():
            return
        if path.exists():
            raise ConfigError(f"{show(path)} is a file: name the folder of a run or sweep.")
    except OSError as error:
        raise ConfigError(f"{show(path)} can't be opened ({error.strerror}).") from error
    hint = suggest_folder(path) or " Name the folder of a run or sweep; normexp runs lists them."
    raise ConfigError(f"{show(path)} does not exist.{hint}")


def read_run(directory: Path, name: str) -> Run:
    """The run in a directory, without its curves. Raises UnreadableRunError."""
    status = read_status(directory)
    try:
        config = read_config(directory)
    except UnreadableRunError as error:
        if status["state"] != "skipped":
            raise UnreadableRunError(f"{str(error)[:-1]} (state: {status['state']}).") from error
        config = {}
    if config:
        config["numerics"] = rundir.numerics(directory)
    return Run(directory, name, status["state"], config, status["metrics"], status)


def read_status(directory: Path) -> dict[str, Any]:
    """The displayable status of a run. Raises UnreadableRunError."""
    with _readable(directory, "status.json"):
        return dict(reader.displayable(rundir.read_status(directory), keep_lines=True))


def read_config(directory: Path) -> dict[str, Any]:
    """The flat, displayable config of a run, with the names of the user's own choices. Raises UnreadableRunError."""
    with _readable(directory, "config.yaml"):
        flat = with_later_keys(flatten(reader.displayable(rundir.read_config(directory))))
        return {**name_own_choices(flat), **{key: flat[key] for key in ("data",) if key in flat}}


@contextmanager
def _readable(directory: Path, file: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        problem = f"can't be opened ({error.strerror})" if isinstance(error, OSError) else "is damaged"
        what = f"its {file} {problem}"
        if isinstance(error, FileNotFoundError) and file != "status.json":
            what = f"it has no {file}"
        raise UnreadableRunError(f"{printable(directory)}: {what}.") from error


def _disambiguate(runs: Sequence[tuple[Path, Run]]) -> list[Run]:
    """The runs of several folders. If two have a name, or config and seed, in common, all names and configs get the folder."""
    owners: dict[object, Path] = {}
    renamed = []
    clash = False
    for path, run in runs:
        same = [(key, repr(value)) for key, value in run.config.items() if key not in ("name", "runs_dir", "data_dir")]
        clash |= any(owners.setdefault(mark, path) != path for mark in (run.name, tuple(sorted(same))))
        config = {**run.config, "folder": printable(path)} if run.config else {}
        renamed.append(replace(run, name=printable(path / run.name), config=config))
    return renamed if clash else [run for _, run in runs]
