"""The two small files of a run directory that tell what it is and what became of it, whatever state they are in, and whoever
wrote them."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from normexp import rundir
from normexp.rundir import safe_read
from normexp.rundir.safe_read import printable

MOST, MOST_CONFIG = 30_000_000, 100_000
"""Bytes of a file of JSON, and of a config.yaml: some twenty times those of the largest runs."""

DEPTH, MOST_BITS, MOST_NAMED = 20, 10_000, 100
"""How deep values may lie in others, how long an integer may be, and how long a word that yaml gives a name."""

KEY = re.compile(r"^(?=\w)", re.MULTILINE)
"""Where a key of a yaml file begins that lies in no other."""


def read_status(directory: Path) -> dict[str, Any] | str:
    """The status of a run directory as it can be shown; or a sentence on why it can't be read."""
    shown = printable(directory)
    try:
        status: dict[str, Any] = plain(rundir.read_status(directory), lines=True)
    except OSError as error:
        return f"{shown}: its status.json can't be opened ({error.strerror})."
    except (ValueError, OverflowError):  # no JSON, no status, or numbers beyond all processes
        return f"{shown}: its status.json is damaged."
    return status


def read_config(directory: Path) -> dict[str, Any] | str:
    """The flat config of a run directory; or a sentence on why it can't be read."""
    shown = printable(directory)
    try:
        tree = read_yaml(directory / "config.yaml")
    except FileNotFoundError:
        return f"{shown}: it has no config.yaml."
    except OSError as error:
        return f"{shown}: its config.yaml can't be opened ({error.strerror})."
    except ValueError:
        return f"{shown}: its config.yaml is damaged."
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= {key: value["name"]} if "name" in value else {}
            flat |= {f"{key}.{name}": item for name, item in value.items() if name != "name"}
        else:
            flat[key] = value
    return flat


def read_yaml(path: Path) -> dict[str, Any]:
    """The nested mapping in a file of yaml, with at least one key, as it can be shown. Raises OSError, and ValueError for
    anything else in it."""
    tree: dict[str, Any] = plain(load_yaml(path))
    return tree


def load_yaml(path: Path) -> dict[str, Any]:
    """The same with its texts as they are."""
    content = safe_read.read(path, most=MOST_CONFIG)
    try:
        tree = _parse(content.decode())
        plain(tree)  # raises what is wrong with it
    except Exception as error:  # what yaml makes of a value that is none (`!!bool x`) can raise nearly anything
        raise ValueError(path) from error
    if not isinstance(tree, dict) or not tree:
        raise ValueError(path)
    return tree


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file of JSON; empty where there is none that can be read."""
    try:
        found = plain(json.loads(safe_read.read(path, most=MOST)))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def plain(value: Any, *, lines: bool = False, depth: int = DEPTH) -> Any:
    """A value from a file as it can be shown, compared and written: its texts are `printable` (and keep their line breaks, if
    so wished). Raises ValueError for numbers too long to be printed, and for what lies too deep in others."""
    if depth == 0 or (isinstance(value, int) and value.bit_length() > MOST_BITS):
        raise ValueError
    match value:
        case None | bool() | int() | float():
            return value
        case dict():
            return {printable(key): plain(item, lines=lines, depth=depth - 1) for key, item in value.items()}
        case list() | tuple():
            return [plain(item, lines=lines, depth=depth - 1) for item in value]
        case str() if lines:
            return "\n".join(map(printable, value.split("\n")))
        case _:
            return printable(value)


def _parse(text: str) -> Any:
    """A yaml file, key by key: thousands of runs share most of theirs, and each is parsed once."""
    tree: dict[Any, Any] = {}
    try:
        for block in KEY.split(text):
            tree |= _parse_block(block)
    except Exception:  # written by other means: keys that refer to one another, say
        return _load(text)
    return tree


@lru_cache(maxsize=10_000)
def _parse_block(text: str) -> Any:
    return _load(text) or {}


def _load(text: str) -> Any:
    """What safe yaml makes of a text. ValueError for what lies deep in others, on which yaml would overflow the stack and crash,
    and for names for more than a word, of which a few lines could make a tree of any size."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        start = isinstance(event, yaml.CollectionStartEvent)
        depth += start - isinstance(event, yaml.CollectionEndEvent)
        long = start or (isinstance(event, yaml.ScalarEvent) and len(event.value) > MOST_NAMED)
        if depth > DEPTH or (long and event.anchor is not None):  # type: ignore[attr-defined]
            raise ValueError
    return yaml.load(text, Loader=loader)
