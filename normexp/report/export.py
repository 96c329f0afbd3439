"""Export of runs as CSV and of groups and runs as JSON, for other programs. Nothing is rounded."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from normexp.config import show
from normexp.report.aggregate import aggregate
from normexp.report.compare import Comparison
from normexp.report.groups import differing, group
from normexp.report.read import Collection, Run
from normexp.rundir.safe_read import printable
from normexp.stats import CONFIDENCE


def to_csv(collection: Collection, *, by: Sequence[str] | None = None) -> str:
    """One row per run: name, state, the config keys that differ (and those in `by`), seed, status, final metrics, and path.

    An empty cell is a missing value.
    """
    runs = collection.runs
    keys = list(dict.fromkeys([*differing(runs), *(by or []), "seed"]))
    tags = list(dict.fromkeys(tag for run in runs for tag in run.metrics))
    metric_heads = [f"final {tag}" if tag in keys else tag for tag in tags]  # lr is a key and a metric
    heads = ["run", "state", *keys, "step", "total_steps", "seconds", "error", *metric_heads, "path"]
    cells = []
    for run in runs:
        config = [_cell(run.config.get(key)) for key in keys]
        status = [run.status.get(key) for key in ("step", "total_steps", "seconds", "error")]
        metrics = [run.metrics.get(tag) for tag in tags]
        cells.append([run.name, run.state, *config, *status, *metrics, printable(run.directory)])
    return csv_text(heads, cells)


FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First characters that make spreadsheets evaluate a cell. East Asian versions also accept the full-width forms."""


def csv_text(heads: Sequence[str], cells: Iterable[Sequence[Any]]) -> str:
    """Format a table as CSV. Strings that a spreadsheet would evaluate get a leading apostrophe, since files may be untrusted."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in (heads, *cells):
        writer.writerow([_no_formula(cell) if isinstance(cell, str) else cell for cell in row])
    return text.getvalue()


def _no_formula(text: str) -> str:
    try:
        float(text)
    except ValueError:
        return f"'{text}" if text.startswith(FORMULA_STARTS) else text
    return text


def to_json(
    collection: Collection,
    *,
    metric: str,
    by: Sequence[str] | None = None,
    sort: str = "metric",
    comparison: Comparison | None = None,
) -> str:
    """Groups, runs, runs that could not be read, and the comparison, if any, as strict JSON; null for a missing value."""
    grouping = group(collection.runs, by)
    content: dict[str, Any] = {
        "metric": metric,
        "keys": grouping.keys,
        "groups": [
            {
                "label": row.group.label,
                "values": row.group.values,
                "mean": row.mean,
                "std": row.std,
                "n": row.n,
                "states": row.states,
                "so_far": row.so_far,
                "runs": [run.name for run in row.group.runs],
            }
            for row in aggregate(grouping, metric, sort=sort)
        ],
        "runs": [_run(run) for run in collection.runs],
        "left_out": collection.left_out,
    }
    if comparison is not None:
        content["comparison"] = _comparison(comparison)
    return json.dumps(_plain(content), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _run(run: Run) -> dict[str, Any]:
    status = {key: run.status.get(key) for key in ("error", "step", "total_steps", "seconds", "started")}
    return {
        "name": run.name,
        "path": printable(run.directory),
        "state": run.state,
        **status,
        "config": run.config,
        "metrics": run.metrics,
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "keys": comparison.keys,
        "config": {key: {"a": a, "b": b} for key, (a, b) in comparison.config.items()},
        "confidence": CONFIDENCE,
        "differences": [
            {
                "label": difference.label,
                "a": {
                    "mean": difference.a.mean,
                    "std": difference.a.std,
                    "n": difference.a.n,
                    "states": difference.a.states,
                },
                "b": {
                    "mean": difference.b.mean,
                    "std": difference.b.std,
                    "n": difference.b.n,
                    "states": difference.b.states,
                },
                "difference": difference.value,
                "half_width": difference.half,
                "method": difference.method,
            }
            for difference in comparison.differences
        ],
        "only_a": comparison.only_a,
        "only_b": comparison.only_b,
    }


def _cell(value: Any) -> Any:
    return value if isinstance(value, float | None) else show(value)


def _plain(value: Any) -> Any:
    """Convert to what strict JSON can hold; dates and non-finite numbers of a config become strings."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return str(value)
