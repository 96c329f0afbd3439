"""The two small files of a run directory that tell what it is and what became of it, whatever state they are in."""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from normexp import rundir

KEY = re.compile(r"^(?=\w)", re.MULTILINE)
"""Where a key of a yaml file begins that lies in no other."""


def read_status(directory: Path) -> dict[str, Any] | str:
    """The status of a run directory, with its metrics as finite numbers or None; or a sentence on why it can't be read."""
    try:
        status = rundir.read_status(directory)
    except OSError as error:
        return f"{directory}: its status.json can't be opened ({error.strerror})."
    except (ValueError, OverflowError, RecursionError):  # no JSON, no status, or numbers beyond all processes
        return f"{directory}: its status.json is damaged."
    metrics = status.get("metrics")
    status["metrics"] = {
        tag: _finite(value)
        for tag, value in (metrics.items() if isinstance(metrics, dict) else ())
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    }
    return status


def read_config(directory: Path) -> dict[str, Any] | str:
    """The flat config of a run directory; or a sentence on why it can't be read."""
    import yaml

    try:
        tree = _parse((directory / "config.yaml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return f"{directory}: it has no config.yaml."
    except OSError as error:
        return f"{directory}: its config.yaml can't be opened ({error.strerror})."
    except (yaml.YAMLError, ValueError, RecursionError):
        tree = None
    if not isinstance(tree, dict) or not tree:
        return f"{directory}: its config.yaml is damaged."
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= {str(key): value["name"]} if "name" in value else {}
            flat |= {f"{key}.{name}": item for name, item in value.items() if name != "name"}
        else:
            flat[str(key)] = value
    return flat


def _parse(text: str) -> Any:
    """A yaml file, key by key: thousands of runs share most of theirs, and each is parsed once."""
    import yaml

    tree: dict[Any, Any] = {}
    try:
        for block in KEY.split(text):
            tree |= _parse_block(block)
    except (yaml.YAMLError, TypeError, ValueError):  # written by other means: keys that refer to one another, say
        return _load(text)
    return tree


@lru_cache(maxsize=10_000)
def _parse_block(text: str) -> Any:
    return _load(text) or {}


def _load(text: str) -> Any:
    import yaml

    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and abs(value) <= sys.float_info.max else None
