"""Strict JSON and YAML for the files of a run directory."""

import json
import math
import sys
from collections.abc import Mapping
from typing import Any


def to_json(value: Mapping[str, Any], *, indent: int | None = None) -> str:
    """Strict JSON. Non-finite numbers become null; the key `nonfinite` has their names and values."""
    return json.dumps(_strict(value), allow_nan=False, indent=indent, ensure_ascii=False)


def json_line(value: Mapping[str, Any]) -> bytes:
    """`to_json` as a line of metrics.jsonl. orjson takes a fifth of the time of json."""
    import orjson

    return orjson.dumps(_strict(value), option=orjson.OPT_APPEND_NEWLINE)


def _strict(value: Mapping[str, Any]) -> Mapping[str, Any]:
    nonfinite = {k: str(v) for k, v in value.items() if isinstance(v, float) and not math.isfinite(v)}
    return {**value, **dict.fromkeys(nonfinite), "nonfinite": nonfinite} if nonfinite else value


def to_yaml(tree: Mapping[str, Any]) -> str:
    """A config, or a part of one, as YAML."""
    import yaml

    return yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True)


def finite(value: object) -> float | None:
    """A finite number from JSON, as a float. None for anything else."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    return float(value) if number else None  # type: ignore[arg-type]
