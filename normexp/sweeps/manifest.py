"""The two files by which a sweep and its processes communicate, and a Job for each process of a run.

sweep.json is permanent, for `normexp resume` and for reports. A session file belongs to one driver, the command that launches
the runs: its workers read it, on whatever machine, and start no more runs once it is deleted.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from normexp import rundir
from normexp.config import ConfigError, show
from normexp.rundir import atomic, lock, safe_read
from normexp.rundir.reader import MAX_JSON_BYTES

MANIFEST = "sweep.json"

SESSION_VARIABLE = "NORMEXP_SESSION"
"""Environment variable with the path of the session file. Hydra sets it around each run, with every launcher."""

BUSY = 75
"""Exit code of a worker whose run is being trained by another process (EX_TEMPFAIL of sysexits.h)."""


@dataclass(frozen=True)
class Session:
    """One execution of a sweep's command.

    command: as typed. cwd: the folder that relative paths refer to. threads: the default for runs whose config has none.
    driver: its process. local: whether the runs end with it. named: whether a run's directory is named by its config's `name`;
    otherwise by its overrides.
    """

    command: Sequence[str]
    cwd: str
    threads: int | None
    driver: Mapping[str, Any]
    local: bool
    named: bool = False


@dataclass(frozen=True)
class Job:
    """A run that a worker process trains.

    tree: the composed config. parent: the process that starts the worker. gpu: the only one that the run may use, as a value of
    CUDA_VISIBLE_DEVICES; None leaves the variable unchanged.
    """

    directory: Path
    tree: Mapping[str, Any]
    session: Session
    parent: Mapping[str, Any]
    gpu: str | None = None


def session_path(folder: Path, driver: Mapping[str, Any]) -> Path:
    """The session file of a driver in a sweep's folder."""
    return folder / f".session-{driver['host']}-{driver['pid']}.json"


def read_session(path: Path) -> Session | None:
    """Read a session file; returns None if it was deleted, since its driver is stopping."""
    try:
        return Session(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def write_manifest(folder: Path, *, arguments: Sequence[str], session: Session) -> None:
    """Record what `normexp resume` needs: all commands that ran this sweep, and the time of the first one."""
    with edit_manifest(folder) as manifest:
        before = [words for words in manifest.get("arguments", []) if words != list(arguments)]
        manifest |= {
            "format": 1,
            "name": folder.name,
            "command": list(session.command),
            "arguments": [*before, list(arguments)],
            "cwd": session.cwd,
            "started": manifest.get("started", rundir.now()),
            "driver": dict(session.driver),
        }


@contextmanager
def edit_manifest(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the content of sweep.json and write it back, under a lock. Raises ConfigError or WriteError."""
    with lock.waiting(folder):
        manifest = read_manifest(folder) or {}
        yield manifest
        atomic.write_text(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The content of sweep.json, or None if it does not exist. Raises ConfigError if it can't be read."""
    try:
        content = json.loads(safe_read.read(folder / MANIFEST, max_bytes=MAX_JSON_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{show(folder / MANIFEST)} can't be read ({error}).") from error
    if isinstance(content, dict) and all(
        isinstance(content.get(key, []), list) for key in ("arguments", "runs", "dropped")
    ):
        return content
    raise ConfigError(f"{show(folder / MANIFEST)} is damaged: not in the format of sweep.json.")
