"""The two small files through which a sweep and its processes communicate.

sweep.json is permanent, for `normexp resume` and for reports. A session file belongs to one driver, the command that launches
the runs: its workers read it, on whatever machine, and start no more runs once it is deleted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from normexp import rundir
from normexp.config import ConfigError, show
from normexp.rundir import atomic, lock, process

MANIFEST = "sweep.json"
FORMAT = 1


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


def open_session(folder: Path, session: Session) -> Path:
    """Write a session file, and delete those of local drivers that have ended; returns its path."""
    for path in folder.glob(".session-*.json"):
        with suppress(OSError, ValueError, TypeError):
            old = read_session(path)
            if old is not None and old.local and process.alive(old.driver) is False:
                path.unlink()
    path = folder / f".session-{session.driver['host']}-{session.driver['pid']}.json"
    atomic.write_text(path, json.dumps(asdict(session)) + "\n")
    return path


def close_session(path: Path) -> None:
    """Delete a session file, so no further run is started."""
    with atomic.writing(path):
        path.unlink(missing_ok=True)


def read_session(path: Path) -> Session | None:
    """Read a session file; returns None if it was deleted, since its driver is stopping."""
    try:
        return Session(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def write_manifest(folder: Path, *, name: str, arguments: Sequence[str], session: Session) -> None:
    """Record what `normexp resume` needs: all commands that ran this sweep, and the time of the first one."""
    with edit_manifest(folder) as manifest:
        before = [words for words in manifest.get("arguments", []) if words != list(arguments)]
        manifest |= {
            "format": FORMAT,
            "name": name,
            "command": list(session.command),
            "arguments": [*before, list(arguments)],
            "cwd": session.cwd,
            "started": manifest.get("started", rundir.now()),
            "driver": dict(session.driver),
        }


def add_runs(folder: Path, names: Iterable[str]) -> None:
    """Record the names of all planned runs, so reports can tell which have not begun."""
    with edit_manifest(folder) as manifest:
        manifest["runs"] = list(dict.fromkeys([*manifest.get("runs", []), *names]))


@contextmanager
def edit_manifest(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the content of sweep.json and write it back, under a lock.

    Raises ConfigError if the file can't be read, WriteError if it can't be written.
    """
    with lock.waiting(folder):
        manifest = read_manifest(folder) or {}
        yield manifest
        atomic.write_text(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The content of sweep.json, or None if it does not exist. Raises ConfigError if it can't be read."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{show(folder / MANIFEST)} can't be read ({error}).") from error
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key, []), list) for key in ("arguments", "runs")
    ):
        raise ConfigError(f"{show(folder / MANIFEST)} is not what a sweep writes.")
    return content
