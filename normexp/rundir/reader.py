"""Read the files of a run directory. They may be damaged, cut short by a kill, or written by somebody else: bounds on size, depth
and the length of numbers keep them from hanging or crashing the reader, or filling the memory."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast, get_args

from normexp.config import printable
from normexp.rundir import process, safe_read
from normexp.rundir.formats import finite
from normexp.rundir.status import State

MAX_JSON_BYTES, MAX_YAML_BYTES, MAX_METRICS_BYTES = 30_000_000, 100_000, 2**31
"""About twenty times the size of the largest runs' files; a hundred times for metrics.jsonl."""

MAX_DEPTH, MAX_BITS, MAX_ANCHORED = 20, 10_000, 100
"""Nesting, bits of an integer, and characters of a yaml scalar with an anchor."""


class Status(TypedDict):
    """status.json, with values of the right type, and with the process's identity as it is there. metrics: finite or None.
    started: ISO 8601, or empty. process_gone: it says `running` but its process is gone, and nobody wrote `killed` yet."""

    state: State
    process_gone: bool
    step: int
    total_steps: int
    seconds: float
    metrics: dict[str, float | None]
    error: str | None
    started: str
    pid: NotRequired[object]


def read_status(directory: Path) -> Status:
    """The status of a run: `killed` if it says `running` but its process is gone. Missing values and values of a wrong type
    become those of a run that has not begun. Raises OSError if the file can't be read, ValueError if it is not a status."""
    try:
        status = json.loads(safe_read.read(directory / "status.json", max_bytes=MAX_JSON_BYTES))
    except RecursionError as error:
        raise ValueError(f"{directory / 'status.json'} is nested too deeply.") from error
    if not isinstance(status, dict) or status.get("state") not in get_args(State):
        raise ValueError(f"{directory / 'status.json'} is not the status of a run.")
    gone = status["state"] == "running" and process.alive(status) is False
    if gone:
        status |= {"state": "killed", "error": "its process no longer exists"}
    metrics, reason, started = (status.get(key) for key in ("metrics", "error", "started"))
    values = {
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
    return cast(Status, values)


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value < 2**63 else 0


def read_config(directory: Path) -> dict[str, Any]:
    """config.yaml as nested mappings. Raises OSError and ValueError, as `read_yaml` does."""
    return read_yaml(directory / "config.yaml")


def numerics(directory: Path) -> int:
    """normexp.NUMERICS of the version that trained the run. 1 for runs from before it was recorded, and if environment.json
    can't be read."""
    version = read_json(directory / "environment.json").get("numerics", 1)
    return version if type(version) is int else 1


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """The entries of metrics.jsonl, in order, without damaged lines. Raises OSError."""
    return list(filter(None, metric_entries(directory)))


def metric_entries(directory: Path) -> Iterator[dict[str, Any] | None]:
    """The entries of metrics.jsonl, in order. None for a damaged line, as a kill leaves it. Raises OSError."""
    import orjson

    for line in filter(None, safe_read.read(directory / "metrics.jsonl", max_bytes=MAX_METRICS_BYTES).split(b"\n")):
        try:
            entry = orjson.loads(line)
            step = entry["step"]
        except (ValueError, TypeError, KeyError):
            yield None
        else:
            yield entry if type(step) is int and 0 <= step < 2**63 else None


def last_training_metrics(directory: Path) -> dict[str, Any]:
    """The finite numbers of the last training entry in metrics.jsonl, which may still be growing. Empty if there is none. Reads
    only the end of the file."""
    with suppress(OSError), (directory / "metrics.jsonl").open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 65_536))  # several entries
        for line in reversed(file.read().splitlines()):
            with suppress(ValueError, RecursionError):
                entry = json.loads(line)
                if isinstance(entry, dict) and "train/loss" in entry:
                    return {tag: value for tag, value in entry.items() if finite(value) is not None}
    return {}


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, as it is. Empty if the file is missing or damaged."""
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads(safe_read.read(path, max_bytes=MAX_JSON_BYTES))
        if isinstance(content, dict):
            return content
    return {}


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a yaml file. Raises OSError if the file can't be read, ValueError if it has no such content."""
    content = safe_read.read(path, max_bytes=MAX_YAML_BYTES)
    tree: dict[Any, Any] = {}
    try:
        text = content.decode()
        try:
            for block in re.split(r"^(?=\w)", text, flags=re.MULTILINE):  # one top-level key after the other
                tree |= _parse_block(block)
        except Exception:  # not written by normexp: keys that refer to one another, say
            tree = _load_yaml(text)
    except Exception as error:  # yaml's constructors can raise nearly anything, for `!!bool x` say
        raise ValueError(path) from error
    if not isinstance(tree, dict) or not tree:
        raise ValueError(path)
    return tree


@lru_cache(maxsize=10_000)
def _parse_block(text: str) -> Any:
    """`_load_yaml` with a cache: thousands of runs share most of their config."""
    return _load_yaml(text) or {}


def _load_yaml(text: str) -> Any:
    """yaml.safe_load with limits. Raises ValueError for deep nesting, on which yaml overflows the stack, for very long
    integers, and for anchors on more than a short scalar, with which a few lines could expand to a tree of any size."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        start = isinstance(event, yaml.CollectionStartEvent)
        depth += start - isinstance(event, yaml.CollectionEndEvent)
        large = start or (isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_ANCHORED)
        if depth > MAX_DEPTH or (large and event.anchor is not None):  # type: ignore[attr-defined]
            raise ValueError
    tree = yaml.load(text, Loader=loader)
    displayable(tree)
    return tree


def displayable(value: Any, *, keep_lines: bool = False, depth: int = MAX_DEPTH) -> Any:
    """A copy of a value from a file that can be shown and written: its strings are `printable`, dates and the like are strings.
    keep_lines: keep line breaks. Raises ValueError for very long integers and deep nesting."""
    if depth == 0 or (isinstance(value, int) and value.bit_length() > MAX_BITS):
        raise ValueError
    match value:
        case None | bool() | int() | float():
            return value
        case dict():
            return {printable(k): displayable(v, keep_lines=keep_lines, depth=depth - 1) for k, v in value.items()}
        case list() | tuple():
            return [displayable(item, keep_lines=keep_lines, depth=depth - 1) for item in value]
        case str() if keep_lines:
            return "\n".join(map(printable, value.split("\n")))
        case _:
            return printable(value)


def displayable_json(path: Path) -> dict[str, Any]:
    """`read_json`, made displayable. Empty if it can't be."""
    with suppress(ValueError):
        return dict(displayable(read_json(path)))
    return {}
