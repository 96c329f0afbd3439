"""Opening sentences and tables of the HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from normexp.html import Cell, Table, link
from normexp.report.aggregate import Row, count_states, describe_outcome, format_mean_std
from normexp.report.analysis import Analysis
from normexp.report.groups import distinct_values, format_value, is_number
from normexp.report.metrics import format_metric, is_fraction, metric_heading, metric_title
from normexp.report.read import Run


@dataclass(frozen=True)
class RunTables:
    """Both tables of a page. printed: whether the table of runs is unfolded when the page is printed."""

    groups: Table
    runs: Table
    printed: bool


def overview(analysis: Analysis, runs: Sequence[Run]) -> list[str]:
    """Sentences on how many runs there are, when they started, and what was swept."""
    started = sorted(str(run.status["started"]) for run in runs if run.status.get("started"))
    when = (
        " to ".join(dict.fromkeys(time[:16].replace("T", " ") for time in (started[0], started[-1]))) if started else ""
    )
    sentences = [count_states(runs) + (f", started {when} UTC." if when else ".")]
    if analysis.grouping.keys:
        members = [run for group in analysis.grouping.groups for run in group.runs]
        swept = [f"{key} ({_list_values(distinct_values(key, members))})" for key in analysis.grouping.keys]
        seeds = len(distinct_values("seed", members))
        sentences.append(f"Swept: {', '.join(swept)}; {seeds} {'seed' if seeds == 1 else 'seeds'}.")
    return sentences


def results(analysis: Analysis) -> list[str]:
    """Sentences on the best group, the best group of each line, and how many runs diverged."""
    metric, layout = analysis.metric, analysis.layout
    done = [row for row in analysis.table if row.mean is not None]
    if not done:
        return [f"No run has a {metric_title(metric)} yet."] if analysis.table else []
    sentences = [f"Best {metric_title(metric)}: {done[0].group.label}, {_measured(done[0], metric)}."]
    if len(analysis.table) == 1:
        sentences = [f"{metric_heading(metric)}: {_measured(done[0], metric)}."]
    best: dict[int, Row] = {}
    for row in done:
        best.setdefault(layout.line(row.group), row)
    if len(best) > 1 and layout.panel_keys:
        parts = [
            f"{layout.names[line]} {format_metric(row.mean, metric)} "
            f"({' '.join(f'{key}={format_value(row.group.values[key])}' for key in layout.panel_keys)})"
            for line, row in best.items()
        ]
        sentences.append(f"Each at its best: {', '.join(parts)}.")
    diverged = dict.fromkeys(range(len(layout.lines)), 0)
    for row in analysis.table:
        diverged[layout.line(row.group)] += row.states.get("diverged", 0)
    if total := sum(diverged.values()):
        runs = sum(len(row.group.runs) for row in analysis.table)
        by_line = ", ".join(f"{n} of {layout.names[line]}" for line, n in diverged.items() if n)
        sentences.append(f"Diverged: {total} of {runs} runs" + (f" ({by_line})." if len(diverged) > 1 else "."))
    return sentences


def group_table(analysis: Analysis) -> Table:
    """One row per group, best first."""
    metric = analysis.metric
    unit = " (%)" if is_fraction(metric) else ""
    heads = [*analysis.grouping.keys, metric_title(metric) + unit, "± std", "n", "runs", "steps", "outcome"]
    rows = [
        [
            *map(_value_cell, row.group.values.values()),
            _metric_cell(row.mean, metric),
            _metric_cell(row.std, metric),
            *(Cell(str(count), count, "number") for count in (row.n, len(row.group.runs), row.step)),
            Cell(describe_outcome(row, metric), kind="diverged" if row.states.get("diverged") else ""),
        ]
        for row in analysis.table
    ]
    return Table(heads, rows)


def run_table(runs: Sequence[Run], analysis: Analysis, page: Path) -> Table:
    """One row per run, with a link to its directory."""
    metric, keys = analysis.metric, analysis.grouping.keys
    rows = []
    for run in runs:
        seconds, value = run.status.get("seconds"), run.metrics.get(metric)
        rows.append(
            [
                Cell(run.name, kind="text", href=f"{link(run.directory, page)}/"),
                *(_value_cell(run.config.get(key)) for key in (*keys, "seed")),
                Cell(run.state, kind=run.state),
                Cell(format_metric(value, metric), "" if value is None else value, "number"),
                _value_cell(run.status.get("step")),
                Cell(f"{seconds:.1f}", seconds, "number") if is_number(seconds) else Cell("-", "", "number"),
                Cell(str(run.status.get("error") or ""), kind="text"),
            ]
        )
    return Table(["run", *keys, "seed", "state", metric_title(metric), "step", "seconds", "error"], rows)


def _measured(row: Row, metric: str) -> str:
    return f"{format_mean_std(row, metric)} ({'; '.join(filter(None, [f'n={row.n}', describe_outcome(row, metric)]))})"


def _value_cell(value: Any) -> Cell:
    """A config value; numbers are right-aligned and sorted by size."""
    if is_number(value):
        return Cell(format_value(value), float(value), "number")
    return Cell(format_value(value))


def _metric_cell(value: float | None, metric: str) -> Cell:
    if value is None:
        return Cell("-", "", "number")
    return Cell(f"{100 * value:.2f}" if is_fraction(metric) else f"{value:.4g}", value, "number")


def _list_values(values: Sequence[Any]) -> str:
    words = [format_value(value) for value in values]
    return ", ".join(words if len(words) <= 8 else [*words[:4], f"... {len(words) - 5} more", words[-1]])
