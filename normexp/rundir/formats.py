"""Strict JSON and YAML for the files of a run directory."""

import json
import math
import sys
from collections.abc import Mapping
from typing import Any


def to_json(value: Mapping[str, Any], *, indent: int | None = None) -> str:
    """Strict JSON. Non-finite numbers become null; the key `nonfinite` maps their keys to 'nan', 'inf' or '-inf'."""
    return json.dumps(_strict(value), allow_nan=False, indent=indent, ensure_ascii=False)


def json_line(value: Mapping[str, Any]) -> bytes:
    """`to_json` for a line of metrics.jsonl. orjson is five times as fast as json."""
    import orjson

    return orjson.dumps(_strict(value), option=orjson.OPT_APPEND_NEWLINE)


def _strict(value: Mapping[str, Any]) -> Mapping[str, Any]:
    nonfinite = {k: str(v) for k, v in value.items() if isinstance(v, float) and not math.isfinite(v)}
    return {**value, **dict.fromkeys(nonfinite), "nonfinite": nonfinite} if nonfinite else value


def to_yaml(tree: Mapping[str, Any]) -> str:
    """YAML of a config or a part of it."""
    import yaml

    return yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True)


def finite(value: object) -> float | None:
    """Convert a finite number from JSON to float. Returns None for anything else."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    return float(value) if number else None  # type: ignore[arg-type]
