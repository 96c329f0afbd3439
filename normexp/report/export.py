"""Export runs as CSV, and groups and runs as JSON, for other programs. Nothing is rounded."""

import contextlib
import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from normexp.config import printable, show
from normexp.report.aggregate import Row, aggregate, ranking_metric
from normexp.report.compare import Comparison
from normexp.report.evaluations import last_evaluations, option_words
from normexp.report.groups import differing, group
from normexp.report.read import Collection, Run
from normexp.rundir.evaluations import read_evaluations
from normexp.rundir.formats import finite
from normexp.stats import CONFIDENCE

RESULTS = ("test/", "val/", "train/", "convergence/")
"""Prefixes of the metrics that come before the diagnostics in a CSV file."""


def to_csv(collection: Collection, *, by: Sequence[str] | None = None) -> str:
    """Format runs as CSV, one row per run: name, state, differing config keys (and `by`), seed, status, final metrics,
    accuracy and loss of each kind of evaluation by `normexp eval`, path."""
    runs = collection.runs
    keys = list(dict.fromkeys([*differing(runs), *(by or []), "seed"]))
    logged = dict.fromkeys(tag for run in runs for tag in run.metrics)
    tags = sorted(logged, key=lambda tag: [not tag.startswith(results) for results in RESULTS])
    metric_heads = [f"final {tag}" if tag in keys else tag for tag in tags]  # lr is a key and a metric
    evaluations = [_evaluations(run) for run in runs]
    eval_heads = list(dict.fromkeys(head for own in evaluations for head in own))
    fields = ("step", "total_steps", "seconds", "error")
    cells = []
    for run, own in zip(runs, evaluations, strict=True):
        config = [run.config.get(key) for key in keys]
        shown = [value if isinstance(value, float | None) else show(value) for value in config]
        status, metrics = map(run.status.get, fields), map(run.metrics.get, tags)
        evaluated = map(own.get, eval_heads)
        cells.append([run.name, run.state, *shown, *status, *metrics, *evaluated, printable(run.directory)])
    return csv_text(["run", "state", *keys, *fields, *metric_heads, *eval_heads, "path"], cells)


def _evaluations(run: Run) -> dict[str, float | None]:
    """Accuracy and loss of the run's evaluations, by column: `eval/accuracy split=test shift=invert`, ..."""
    numbers = {}
    for entry in last_evaluations(run):
        for key in ("accuracy", "loss"):
            numbers[f"eval/{key} {option_words(entry)}"] = finite(entry.get(key))
    return numbers


FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First characters of cells that spreadsheets evaluate; East Asian versions also evaluate the full-width forms."""


def csv_text(heads: Sequence[str], cells: Iterable[Sequence[Any]]) -> str:
    """Format a table as CSV. Cells that a spreadsheet would evaluate get a leading apostrophe, since files may be untrusted."""
    text = io.StringIO()
    rows = ([_no_formula(cell) if isinstance(cell, str) else cell for cell in row] for row in (heads, *cells))
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _no_formula(text: str) -> str:
    with contextlib.suppress(ValueError):
        float(text)
        return text
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def to_json(
    collection: Collection, *, metric: str, by: Sequence[str] | None, sort: str, comparison: Comparison | None
) -> str:
    """Format groups, runs, unreadable runs and the comparison, if any, as strict JSON. Missing values are null."""
    grouping = group(collection.runs, by)
    groups = []
    for row in aggregate(grouping, metric, sort=sort):
        names = [run.name for run in row.group.runs]
        head = {"label": row.group.label, "values": row.group.values}
        groups.append({**head, **_result(row), "so_far": row.so_far, "runs": names})
    runs = []
    for run in collection.runs:
        head = {"name": run.name, "path": printable(run.directory), "state": run.state}
        status = {key: run.status.get(key) for key in ("error", "step", "total_steps", "seconds", "started")}
        evaluations = [
            {k: v for k, v in entry.items() if k != "confusion"} for entry in read_evaluations(run.directory)
        ]
        runs.append({**head, **status, "config": run.config, "metrics": run.metrics, "evaluations": evaluations})
    content: dict[str, Any] = {"metric": metric, "ranked_by": ranking_metric(metric), "keys": grouping.keys}
    content |= {"groups": groups, "runs": runs, "left_out": collection.left_out}
    if comparison is not None:
        differences = []
        for difference in comparison.differences:
            sides = {"label": difference.label, "a": _result(difference.a), "b": _result(difference.b)}
            interval = {"difference": difference.value, "half_width": difference.half, "method": difference.method}
            differences.append({**sides, **interval})
        config = {key: {"a": a, "b": b} for key, (a, b) in comparison.config.items()}
        own = {"config": config, "differences": differences, "confidence": CONFIDENCE}
        content["comparison"] = {**vars(comparison), **own}
    return json.dumps(_plain(content), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _result(row: Row) -> dict[str, Any]:
    return {"mean": row.mean, "std": row.std, "score": row.score, "n": row.n, "states": row.states}


def _plain(value: Any) -> Any:
    """Convert to types of strict JSON; dates and non-finite numbers in a config become strings."""
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
