"""evaluations.jsonl: one JSON object for each later evaluation of a finished run, by `normexp eval`."""

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from normexp.rundir import atomic, safe_read
from normexp.rundir.formats import finite, json_line
from normexp.rundir.reader import displayable

NAME = "evaluations.jsonl"

MAX_BYTES = 100_000_000
"""About a hundred thousand evaluations of ten classes."""


def append_evaluation(directory: Path, entry: Mapping[str, Any]) -> None:
    """Append a line in a single write, on a line of its own even if an earlier one was cut off. Processes that append at the same
    time wait for each other. Raises WriteError, with the file as it was."""
    path = directory / NAME
    with atomic.writing(path), path.open("ab+", buffering=0) as file:
        with contextlib.suppress(OSError):  # file systems without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        broken = size > 0 and file.read(1) != b"\n"
        line = b"\n" * broken + json_line(entry)
        written = file.write(line)
        if written != len(line):  # a full disk: the rest of the line would be missing
            file.truncate(size)
            raise OSError(28, os.strerror(28), str(path))
        os.fsync(file.fileno())


def read_evaluations(directory: Path) -> list[dict[str, Any]]:
    """The readable entries, oldest first, with strings made printable; damaged lines are skipped. Empty without a file."""
    try:
        lines = safe_read.read(directory / NAME, max_bytes=MAX_BYTES).split(b"\n")
    except OSError:
        return []
    entries = []
    for line in filter(None, lines):
        try:
            entry = displayable(json.loads(line))
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and finite(entry.get("accuracy")) is not None:
            entries.append(entry)
    return entries
