"""What a sweep and the processes that work on it know of each other, through two small files in the sweep's directory.

sweep.json stays, for `normexp resume` and for readers. A session's file belongs to one driver (the command that launches the
runs): its workers read it, wherever they run, and take on no more runs once it is gone.
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
    """command: as it was typed. cwd: what its paths are relative to. threads: of runs that leave it open.
    driver: its process. local: whether the runs end with that. named: whether a run's directory has its config's `name`; else
    that of its overrides."""

    command: Sequence[str]
    cwd: str
    threads: int | None
    driver: Mapping[str, Any]
    local: bool
    named: bool = False


def open_session(folder: Path, session: Session) -> Path:
    """Write the session's file; those of drivers that are gone are taken away, unless a cluster works for them."""
    for path in folder.glob(".session-*.json"):
        with suppress(OSError, ValueError, TypeError):
            old = read_session(path)
            if old is not None and old.local and process.alive(old.driver) is False:
                path.unlink()
    path = folder / f".session-{session.driver['host']}-{session.driver['pid']}.json"
    atomic.write_text(path, json.dumps(asdict(session)) + "\n")
    return path


def close_session(path: Path) -> None:
    """Have no further run taken on."""
    with atomic.writing(path):
        path.unlink(missing_ok=True)


def read_session(path: Path) -> Session | None:
    """The session of a file; None where it is gone: its driver is stopping."""
    try:
        return Session(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def write_manifest(folder: Path, *, name: str, arguments: Sequence[str], session: Session) -> None:
    """Keep what `normexp resume` needs: all the commands that made runs here. The first start stays."""
    with changing_manifest(folder) as manifest:
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
    """Keep the names of the runs that there are to be, so that readers can tell which have not begun."""
    with changing_manifest(folder) as manifest:
        manifest["runs"] = list(dict.fromkeys([*manifest.get("runs", []), *names]))


@contextmanager
def changing_manifest(folder: Path) -> Iterator[dict[str, Any]]:
    """The content of sweep.json, written back at the end of the block.

    Other commands that change it wait, so no change is lost. Raises ConfigError if the file can't be read, WriteError if it can't
    be written.
    """
    with lock.waiting(folder):
        manifest = read_manifest(folder) or {}
        yield manifest
        atomic.write_text(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """sweep.json; None where there is none. Raises ConfigError where it can't be read."""
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
