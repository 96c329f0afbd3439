"""Tables of evaluations: per class, confusion matrix, and the evaluations of a report's runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from normexp.config import printable, show
from normexp.metrics import format_metric
from normexp.report.read import Run
from normexp.rundir.evaluations import read_evaluations

MAX_CLASSES = 20
"""Rows of the table of classes; of more classes, those of the lowest accuracy."""

MAX_ROWS = 30
"""Evaluations that a report lists."""

MAX_PAIRS = 10
"""Confusions that are listed where the matrix is too wide."""

NAME_WIDTH = 20

Matrix = Sequence[Sequence[int]]


def show_classes(console: Console, confusion: Matrix, names: Sequence[str]) -> None:
    """Print samples, accuracy, precision and the most frequent wrong prediction of each class, in at most 80 columns."""
    predicted = [sum(row[k] for row in confusion) for k in range(len(confusion))]
    order = list(range(len(confusion)))
    if len(order) > MAX_CLASSES:
        order = [k for k in order if sum(confusion[k])]
        order = sorted(order, key=lambda k: confusion[k][k] / sum(confusion[k]))[:MAX_CLASSES]
    table = _table("class", "samples", "accuracy", "precision", "most often taken for")
    for k in order:
        row, total = confusion[k], sum(confusion[k])
        wrong = max((j for j in range(len(row)) if j != k), key=lambda j: row[j])
        mistaken = f"{_name(names[wrong])} ({row[wrong]})" if row[wrong] else ""
        shares = _share(row[k], total), _share(row[k], predicted[k])
        table.add_row(Text(_name(names[k])), f"{total:,}", *shares, Text(mistaken))
    console.print()
    console.print(table)
    if len(order) < len(confusion):
        console.print(Text(f"the {len(order)} of {len(confusion)} classes with the lowest accuracy", style="dim"))


def show_confusion(console: Console, confusion: Matrix, names: Sequence[str]) -> None:
    """Print the confusion matrix, or its largest wrong entries if it does not fit."""
    cells = [[str(count) if count else "." for count in row] for row in confusion]
    digits = max(len(cell) for row in cells for cell in row)
    labels = [_name(name) for name in names]
    first = max(len("true"), *map(len, labels))
    heads = labels if max(map(len, labels)) <= digits + 2 else [str(k) for k in range(len(labels))]
    if heads is not labels:
        labels = [f"{k} {label}" for k, label in enumerate(labels)]
        first = max(map(len, labels))
    width = max(digits, *map(len, heads))
    console.print()
    if first + (width + 1) * len(heads) <= console.width:
        lines = [" " * first + "".join(f" {head:>{width}}" for head in heads)]
        for label, row in zip(labels, cells, strict=True):
            lines.append(f"{label:<{first}}" + "".join(f" {cell:>{width}}" for cell in row))
        console.print(Text("confusion matrix: true classes in rows, predictions in columns"))
        console.print(Text("\n".join(lines)))
        return
    pairs = [(n, i, j) for i, row in enumerate(confusion) for j, n in enumerate(row) if i != j and n]
    table = _table("true", "samples", "predicted")
    for n, i, j in sorted(pairs, reverse=True)[:MAX_PAIRS]:
        table.add_row(Text(_name(names[i])), str(n), Text(_name(names[j])))
    console.print(Text("most frequent confusions (--confusion FILE.png draws the matrix)"))
    console.print(table)


def show_evaluations(console: Console, runs: Sequence[Run]) -> None:
    """Print the last evaluation of each kind of the runs that were evaluated by `normexp eval`. Nothing if none was."""
    rows = [(run, entry) for run in runs for entry in last_evaluations(run)]
    if not rows:
        return
    table = _table("run", "split", "shift", "statistics", "accuracy")
    for i, (run, entry) in enumerate(rows[:MAX_ROWS]):
        name = "" if i and rows[i - 1][0] is run else printable(run.name)
        table.add_row(*map(Text, (name, *conditions(entry))), format_metric(entry["accuracy"], "accuracy"))
    console.print()
    console.print(Text("Evaluations"))
    console.print(table)
    if len(rows) > MAX_ROWS:
        console.print(Text(f"and {len(rows) - MAX_ROWS} more in the runs' evaluations.jsonl", style="dim"))


def last_evaluations(run: Run) -> list[dict[str, Any]]:
    """The last evaluation of each kind of a run's network. Those from before the run was extended are left out."""
    entries: dict[tuple[str, str, str], dict[str, Any]] = {}
    for entry in read_evaluations(run.directory):
        if entry.get("step") == run.status["step"]:
            entries.pop(conditions(entry), None)  # the last one counts
            entries[conditions(entry)] = entry
    return list(entries.values())


def option_words(entry: Mapping[str, Any]) -> str:
    """The options of `normexp eval` that give an evaluation, such as `split=test shift=blur shift.severity=3`."""
    options = {"split": entry.get("split"), "shift": entry.get("shift"), "shift.severity": entry.get("severity")}
    if entry.get("statistics") == "recomputed":
        options |= {"norm.statistics": "recomputed", "statistics_from": entry.get("statistics_from")}
    if entry.get("statistics") == "batch":
        options |= {"norm.statistics": "batch", "batch_size": entry.get("batch_size")}
    options |= {"fold": entry.get("fold") or None}
    return " ".join(f"{key}={show(value)}" for key, value in options.items() if value is not None)


def conditions(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    """Split, shift and statistics of an evaluation, as text."""
    shift, severity = entry.get("shift"), entry.get("severity")
    shifted = "none" if shift is None else f"{shift}" if severity is None else f"{shift} {severity}"
    statistics = entry.get("statistics")
    parts = [] if statistics is None else [str(statistics)]
    if statistics == "recomputed":
        parts = [f"recomputed ({entry.get('statistics_from')})"]
    if statistics == "batch":
        parts = [f"batch (size {entry.get('batch_size')})"]
    if entry.get("fold") is True:
        parts.append("folded")
    return show(entry.get("split")), show(shifted), show(", ".join(parts))


def _table(*heads: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in heads:
        right = head in ("samples", "accuracy", "precision")
        table.add_column(head, justify="right" if right else "left", overflow="fold")
    return table


def _name(name: str) -> str:
    shown = printable(name)
    return shown if len(shown) <= NAME_WIDTH else f"{shown[: NAME_WIDTH - 1]}…"


def _share(part: int, total: int) -> str:
    return format_metric(part / total, "accuracy") if total else "-"
