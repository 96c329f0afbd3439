"""A run directory: its name, and writing its files so that a kill at any moment leaves it readable."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from normexp import disk, process, untrusted
from normexp.config import ConfigError, show

State = Literal["running", "completed", "diverged", "failed", "interrupted", "killed", "skipped"]

MAX_NAME = 100
"""Characters of a directory's name: room for a path in front of it and a suffix behind it on every file system."""


def slug(overrides: Iterable[str]) -> str:
    """A directory name that shows the overrides: 'norm=bn_lr=0.1'.

    Different overrides have different names, on file systems of every kind: long ones, and those with characters that a name
    should not have, end in a hash of the whole.
    """
    texts = [override.strip() for override in overrides]
    plain = [re.sub(r"[\[\]'\"]", "", text) for text in texts]
    shown = "_".join(re.sub(r"[^A-Za-z0-9=.,+-]+", "-", text).strip("-") for text in plain)
    if len(shown) <= MAX_NAME - 20 and not any(re.search(r"[^A-Za-z0-9=.,+_-]|^-|-$|=.*_", text) for text in plain):
        return shown
    return f"{shown[: MAX_NAME - 30]}~{hashlib.sha256('_'.join(texts).encode()).hexdigest()[:8]}"


def default_name(overrides: Iterable[str]) -> str:
    """The name of a run or a sweep that was given none: date, time and overrides."""
    return "_".join([f"{datetime.now():%Y-%m-%d_%H-%M-%S}", *filter(None, [slug(overrides)])])


def check_name(name: str) -> None:
    """ConfigError for a name that can't be, or should not be, a directory's."""
    if re.fullmatch(r"[\w=.,+~ -]+", name) and len(name) <= MAX_NAME and name.strip(". ") == name and name:
        return
    raise ConfigError(
        f"name={show(name)}: a name has letters, digits, spaces and any of = . , + ~ - _, "
        f"no slash, and at most {MAX_NAME} characters."
    )


def create(
    parent: Path, name: str, files: Mapping[str, str], *, prepare: Callable[[Path], object] = lambda directory: None
) -> Path:
    """A new directory `name` in `parent`, or `name-2`, `name-3`, ... where that exists, with its first files in it, and with what
    `prepare` does there.

    It gets its name when it is whole, so that a run that has a name can be gone on with. ConfigError where it can't be made
    in such a place, WriteError where the place can't be written to, with nothing left of it.
    """
    with _refusing(parent, parent):
        parent.mkdir(parents=True, exist_ok=True)
        new = parent / f".{name}.{os.getpid()}.tmp"
        new.mkdir()
        try:
            fill(new, files)
            prepare(new)
            for suffix in itertools.chain([""], (f"-{n}" for n in range(2, 100_000))):
                path = parent / f"{name}{suffix}"
                if os.path.lexists(path):  # a directory could take the place of an empty one
                    continue
                try:
                    return new.rename(path)
                except OSError as error:
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # else another process was quicker
                        raise
        finally:
            shutil.rmtree(new, ignore_errors=True)
    raise ConfigError(f"runs_dir={show(parent)}: there are too many runs named {name}.")


def fill(directory: Path, files: Mapping[str, str]) -> Path:
    """Write a run's first files, to the disk itself, so that no power cut leaves a run that does not know its config."""
    for name, text in files.items():
        with disk.replacing(directory / name) as temporary:
            # Half a surrogate pair stands for a byte of a path that is not UTF-8; this is how JSON escapes it.
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
            disk.to_disk(temporary)
    disk.to_disk(directory)
    return directory


def refill(directory: Path, files: Mapping[str, str], step: int) -> Path:
    """The same for a run that goes on after a step: what it was begun with stays, and what it goes on with stands beside it."""
    earlier = {}
    with contextlib.suppress(OSError, ValueError, RecursionError):
        earlier = json.loads(untrusted.read(directory / "environment.json", most=MOST_STATUS))
    if isinstance(earlier, dict) and earlier:
        before = earlier.get("resumed")
        now_with = {"step": step, "at": now(), **json.loads(files["environment.json"])}
        earlier["resumed"] = [*(before if isinstance(before, list) else []), now_with]
        if step == 0:  # nothing of the earlier training is left
            earlier["numerics"] = now_with["numerics"]
        files = {**files, "environment.json": to_json(earlier, indent=2) + "\n"}
    return fill(directory, files)


def make(directory: Path, write: Callable[[], object]) -> None:
    """Make a sweep's directory, which may be there already, with what `write` does there. ConfigError where it can't be made in
    such a place, WriteError where that can't be written to, with nothing left of a new one."""
    with _refusing(directory.parent, directory):
        directory.mkdir(parents=True, exist_ok=True)
        write()


@contextlib.contextmanager
def _refusing(parent: Path, made: Path) -> Iterator[None]:
    """made: the directory that the block makes, which it takes away again where it fails, as far as it was not there before."""
    existed = parent
    try:
        existed = next(p for p in [parent.absolute(), *parent.absolute().parents] if p.exists())
        yield
    except OSError as error:
        for path in (made.absolute(), *made.absolute().parents):
            if path.is_relative_to(existed) and path != existed:
                with contextlib.suppress(OSError):  # it was not made, or another process has begun to use it
                    path.rmdir()
        if error.errno in disk.FAULTS:
            raise disk.WriteError(error.errno, error.strerror, str(existed)) from error
        raise ConfigError(
            f"runs_dir={show(parent)}: no run directory can be made in {existed} ({error.strerror or error})."
        ) from error


def numerics(directory: Path) -> int:
    """The version of the numbers in a run directory, see normexp.NUMERICS: 1 for runs from before versions were recorded, and if
    environment.json cannot be read."""
    try:
        made_with = json.loads(untrusted.read(directory / "environment.json", most=MOST_STATUS))
    except (OSError, ValueError, RecursionError):
        return 1
    found = made_with.get("numerics", 1) if isinstance(made_with, dict) else 1
    return found if type(found) is int else 1


MEASURED = ("metrics.jsonl", "histograms.png", "checkpoint*.pt", "events.out.tfevents.*")
"""The files of a run that tell how it went, without its log."""


def clear(directory: Path) -> None:
    """Take away what a run measured that is to be trained again. What it is stays until `fill` replaces it, so that a kill in
    between leaves a run that can be gone on with; its log stays too, and so do the files of others."""
    for pattern in MEASURED:
        for path in directory.glob(pattern):
            with disk.writing(path):
                path.unlink(missing_ok=True)


def now() -> str:
    """When a run or a sweep started, as it is written in its files: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_first_status(directory: Path, state: State, error: str | None = None) -> None:
    """The status of a run that has not trained, or never will."""
    write_status(directory, state=state, step=0, total_steps=0, seconds=0.0, metrics={}, error=error, started=now())


def to_json(value: Mapping[str, Any], *, indent: int | None = None) -> str:
    """Strict JSON. Non-finite numbers are written as null, and `nonfinite` says for which keys, and what they were."""
    return json.dumps(_strict(value), allow_nan=False, indent=indent, ensure_ascii=False)


def json_line(value: Mapping[str, Any]) -> bytes:
    """The same as a line of metrics.jsonl; by orjson, which takes a fifth of the time."""
    import orjson

    return orjson.dumps(_strict(value), option=orjson.OPT_APPEND_NEWLINE)


def _strict(value: Mapping[str, Any]) -> Mapping[str, Any]:
    nonfinite = {k: str(v) for k, v in value.items() if isinstance(v, float) and not math.isfinite(v)}
    return {**value, **dict.fromkeys(nonfinite), "nonfinite": nonfinite} if nonfinite else value


def to_yaml(tree: Mapping[str, Any]) -> str:
    """A config, or a part of one, as it is kept in a run directory."""
    import yaml

    plain = {key: dict(value) if isinstance(value, Mapping) else value for key, value in tree.items()}
    for value in plain.values():
        if isinstance(value, dict):
            value.update({k: list(v) for k, v in value.items() if isinstance(v, tuple)})
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def write_status(
    directory: Path,
    *,
    state: State,
    step: int,
    total_steps: int,
    seconds: float,
    metrics: Mapping[str, float | None],
    error: str | None,
    started: str,
) -> None:
    """Write status.json for a run of this process."""
    replace_status(
        directory,
        status_text(
            state=state,
            step=step,
            total_steps=total_steps,
            seconds=seconds,
            metrics=metrics,
            error=error,
            started=started,
        ),
    )


FULL = (errno.ENOSPC, errno.EDQUOT)


def replace_status(directory: Path, text: str) -> None:
    """status.json, replaced as a whole. On a full disk the old one is written over, which takes no more room, if need be
    without metrics, which stand elsewhere too."""
    path = directory / "status.json"
    try:
        disk.write_text(path, text)
    except disk.WriteError as failure:
        if failure.errno not in FULL or not path.exists():
            raise
        try:
            disk.write_over(path, text.encode())
        except disk.WriteError:
            short = {**json.loads(text), "metrics": {}}
            disk.write_over(path, (json.dumps(short, indent=2) + "\n").encode())


def status_text(
    *,
    state: State,
    step: int,
    total_steps: int,
    seconds: float,
    metrics: Mapping[str, float | None],
    error: str | None,
    started: str,
) -> str:
    """What status.json holds of a run of this process."""
    status = {
        "state": state,
        "step": step,
        "total_steps": total_steps,
        "seconds": round(seconds, 3),
        "metrics": json.loads(to_json(metrics)),
        "error": error,
        **process.identity(),
        "started": started,
    }
    return json.dumps(status, indent=2, allow_nan=False) + "\n"


MOST_STATUS = 30_000_000
"""Bytes: there are networks of many layers with many numbers, but none of so many."""


def read_status(directory: Path) -> dict[str, Any]:
    """status.json of a run directory, but a run that says `running` and whose process is gone has the state `killed`.

    `process_gone` in the result says whether nobody has handled that yet. A value that is missing or of the wrong type is that
    of a run that has not begun; metrics are finite numbers or None. Raises OSError where there is none, ValueError where it is
    not a status.
    """
    try:
        status = json.loads(untrusted.read(directory / "status.json", most=MOST_STATUS))
    except RecursionError as error:
        raise ValueError(f"{directory / 'status.json'} is nested too deeply.") from error
    if not isinstance(status, dict) or status.get("state") not in get_args(State):
        raise ValueError(f"{directory / 'status.json'} is not the status of a run.")
    gone = status["state"] == "running" and process.alive(status) is False
    if gone:
        status |= {"state": "killed", "error": "its process is gone"}
    metrics, reason, started = (status.get(key) for key in ("metrics", "error", "started"))
    return {
        **status,
        "process_gone": gone,
        "step": _count(status.get("step")),
        "total_steps": _count(status.get("total_steps")),
        "seconds": finite(status.get("seconds")) or 0.0,
        "metrics": {
            tag: finite(value)
            for tag, value in (metrics.items() if isinstance(metrics, dict) else ())
            if value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        },
        "error": reason if isinstance(reason, str) else None,
        "started": started if isinstance(started, str) else "",
    }


def finite(value: object) -> float | None:
    """A finite number read from JSON, as a float; None for anything else."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    return float(value) if number else None  # type: ignore[arg-type]


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else 0


def rewrite_status(directory: Path, status: Mapping[str, Any], *, state: State, error: str) -> None:
    """The status of a run that could not write how it ended: as it was, with another state and the reason."""
    kept = {key: status[key] for key in ("step", "total_steps", "seconds", "metrics", "started")}
    write_status(directory, **kept, state=state, error=error)


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """The entries of metrics.jsonl, in order. A line that a kill cut short is left out."""
    lines = []
    for line in (directory / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            lines.append(json.loads(line))
    return lines
