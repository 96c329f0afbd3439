"""Check which run and sweep directories may be deleted, and delete them."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from normexp import rundir
from normexp.config import ConfigError, printable, show, suggest_folder
from normexp.rundir import lock, process
from normexp.rundir.reader import read_json
from normexp.sweeps import slurm
from normexp.sweeps.manifest import read_manifest


@dataclass(frozen=True)
class Deletable:
    """A run, with its state, or a sweep, with the number of its runs. size: in bytes."""

    path: Path
    runs: int
    state: str | None
    size: int


def deletable(paths: Iterable[Path], runs_dir: Path) -> list[Deletable]:
    """The directories to delete for these paths, each once. Raises ConfigError, also for a directory that is in use."""
    resolved: dict[Path, Path] = {}
    for path in paths:
        _check_path(path, runs_dir)
        for reason in _uses(path):
            raise ConfigError(reason)
        resolved[path.resolve()] = path
    outermost = [path for real, path in resolved.items() if not any(parent in resolved for parent in real.parents)]
    return [_describe(path) for path in outermost]


def delete(items: Sequence[Deletable]) -> None:
    """Delete the directories. Raises ConfigError for one that has come into use, OSError if the file system refuses."""
    for item in items:
        path = item.path.resolve()
        hidden = path.with_name(f".{path.name}.deleted")
        path.rename(hidden)  # no other process can find it now
        if any(_uses(hidden)):
            hidden.rename(path)
            raise ConfigError(f"{printable(item.path)} is in use; it was not deleted.")
        shutil.rmtree(hidden)


def _check_path(path: Path, runs_dir: Path) -> None:
    """Raise ConfigError unless the path is the directory of a run or sweep inside runs_dir."""
    shown = show(path, 200)
    if path.is_symlink():
        raise ConfigError(f"{shown} is a symbolic link; name the directory itself.")
    if not path.is_dir():
        if path.exists():
            raise ConfigError(f"{shown} is not a directory.")
        hint = suggest_folder(path, runs_dir) or " normexp runs lists runs and sweeps."
        raise ConfigError(f"{shown} does not exist.{hint}")
    if Path.cwd().is_relative_to(path.resolve()):
        raise ConfigError(f"{shown} contains the current folder; delete it from outside.")
    if runs_dir.resolve() not in path.resolve().parents:
        raise ConfigError(f"{shown} is not inside {show(runs_dir, 200)}; add runs_dir=DIR if its runs are elsewhere.")
    is_run = (path / "status.json").is_file() and ((path / "config.yaml").is_file() or _state(path) is not None)
    if not (is_run or _is_sweep(path)):
        raise ConfigError(f"{shown} is not the directory of a run or sweep.")


def _is_sweep(path: Path) -> bool:
    with suppress(ConfigError):
        return bool(read_manifest(path))
    return False


def _state(path: Path) -> str | None:
    with suppress(OSError, ValueError):
        return str(rundir.read_status(path)["state"])
    return None


def _uses(path: Path) -> Iterator[str]:
    """Why a directory is in use, in sentences: a process trains in it, or Slurm has jobs of the sweep."""
    for file in sorted(path.rglob(lock.NAME)):
        if lock.in_use(file.parent):
            yield printable(lock.refusal(file.parent))
    for file in path.rglob(".session-*.json"):  # exists while a command launches runs
        driver = read_json(file).get("driver")
        if isinstance(driver, dict) and process.alive(driver) is not False:
            yield printable(lock.in_use_by(driver, file))
    if _is_sweep(path) and (jobs := slurm.queued_jobs(path)):
        yield f"{path} has {len(jobs)} jobs on Slurm; to cancel them: scancel {slurm.scancel_ids(jobs)}"


def _describe(path: Path) -> Deletable:
    size = sum(file.lstat().st_size for file in path.rglob("*"))
    if _is_sweep(path):
        return Deletable(path, sum(1 for _ in path.glob("*/status.json")), None, size)
    return Deletable(path, 1, _state(path) or "unreadable", size)
