"""Read the files of a run directory. They may be damaged, truncated by a kill, or malicious: limits on size, nesting depth and
length of numbers keep the reader from hanging, crashing or running out of memory."""

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
"""Limits on file sizes: about twenty times those of the largest runs; for metrics.jsonl a hundred times."""

MAX_DEPTH, MAX_BITS, MAX_ANCHORED = 20, 10_000, 100
"""Limits on nesting, bits of an integer, and characters of a yaml scalar with an anchor."""


class Status(TypedDict):
    """Content of status.json, type-checked, apart from the identity of the process. metrics: None if not finite. started: ISO
    8601, or empty. process_gone: the file says `running`, but the process no longer exists."""

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
    """Read a run's status. A run that says `running` but whose process is gone is `killed`. Missing values and values of the
    wrong type become those of a run that has not started. Raises OSError if the file can't be read, ValueError if it is not a
    status."""
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
        **{key: _count(status.get(key)) for key in ("step", "total_steps")},
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
    """Read config.yaml. Raises OSError and ValueError, as `read_yaml` does."""
    return read_yaml(directory / "config.yaml")


def numerics(directory: Path) -> int:
    """normexp.NUMERICS of the version that trained the run. 1 if it was not recorded, or environment.json can't be read."""
    version = read_json(directory / "environment.json").get("numerics", 1)
    return version if type(version) is int else 1


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """Read the entries of metrics.jsonl, skipping damaged lines. Raises OSError."""
    return list(filter(None, metric_entries(directory)))


def metric_entries(directory: Path) -> Iterator[dict[str, Any] | None]:
    """Read the entries of metrics.jsonl, with None for each damaged line, such as one truncated by a kill. Raises OSError."""
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
    """Read the finite numbers of the last training entry from the end of metrics.jsonl, which may still be growing. Empty if
    there is none."""
    with suppress(OSError), (directory / "metrics.jsonl").open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 65_536))  # several entries
        for line in reversed(file.read().splitlines()):
            with suppress(ValueError, RecursionError):
                entry = json.loads(line)
                if isinstance(entry, dict) and "train/loss" in entry:
                    return {tag: value for tag, value in entry.items() if finite(value) is not None}
    return {}


def read_json(path: Path) -> dict[str, Any]:
    """Read the object in a JSON file, unchecked. Empty if the file is missing or damaged."""
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads(safe_read.read(path, max_bytes=MAX_JSON_BYTES))
        if isinstance(content, dict):
            return content
    return {}


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in a yaml file. Raises OSError if the file can't be read, ValueError if it holds anything else."""
    content = safe_read.read(path, max_bytes=MAX_YAML_BYTES)
    tree: dict[Any, Any] = {}
    try:
        text = content.decode()
        try:
            for block in re.split(r"^(?=\w)", text, flags=re.MULTILINE):  # one block per top-level key
                tree |= _parse_block(block)
        except Exception:  # not written by normexp: for example, keys that refer to one another
            tree = _load_yaml(text)
    except Exception as error:  # yaml's constructors can raise nearly anything, for example for `!!bool x`
        raise ValueError(path) from error
    if not isinstance(tree, dict) or not tree:
        raise ValueError(path)
    return tree


@lru_cache(maxsize=10_000)
def _parse_block(text: str) -> Any:
    """`_load_yaml` with a cache: thousands of runs share most of their config."""
    return _load_yaml(text) or {}


def _load_yaml(text: str) -> Any:
    """yaml.safe_load with limits. Raises ValueError for deep nesting, which overflows yaml's stack, for very long integers, and
    for anchors on anything but short scalars, with which a few lines could expand to a tree of any size."""
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
    """Copy a value from a file so that it is safe to print: strings become `printable`, other types such as dates become strings.
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
    """`read_json`, made `displayable`. Empty if that fails."""
    with suppress(ValueError):
        return dict(displayable(read_json(path)))
    return {}
