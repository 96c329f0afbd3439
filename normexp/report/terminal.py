"""Results on the terminal: a table over seeds for each task, with notes. A sweep prints this at its end, too."""

import math
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from normexp.config import printable
from normexp.console import print_some
from normexp.metrics import DEFAULT_METRIC, format_metric, has_direction, higher_is_better, metric_title
from normexp.report import groups
from normexp.report.aggregate import (
    Row,
    aggregate,
    aggregate_task,
    check_metric,
    count_states,
    describe_outcome,
    format_mean_std,
    no_result,
    ranking_metric,
    ranking_title,
    small_sample_note,
)
from normexp.report.columns import Column, fit, layout, need
from normexp.report.heatmap import show_heatmap
from normexp.report.read import Collection, Run
from normexp.stats import mean_std

FURTHER_COLUMNS = {
    "convergence/best_accuracy": "best val accuracy",
    "convergence/steps_to_90": "steps to 90 %",
    "train/loss": "train loss",
}
"""Heads of columns for which there may be no room, by metric, the most important first."""

MAX_REASON = 1000
"""Characters of a reason, since error messages can be megabytes."""


def show(
    console: Console,
    collection: Collection,
    *,
    metric: str = DEFAULT_METRIC,
    by: Sequence[str] | None = None,
    sort: str = "metric",
    command: str,
) -> None:
    """Print a table over seeds and a heat map of two swept keys for each task, and failed, skipped and unreadable runs.
    command: makes this report; hints add flags to it. Raises ConfigError before it prints anything."""
    check_metric(metric, collection.runs)
    grouping = groups.group(collection.runs, by)
    table = aggregate(grouping, metric, sort=sort)
    console.print(Text(count_states(collection.runs, not_started=collection.not_started)))
    tasks = groups.split_tasks(collection.runs, by)
    if dropped := dict.fromkeys(head for task in tasks for head in _show_task(console, task, metric, sort)):
        console.print()
        console.print(Text(f"No room for {', '.join(dropped)}: use a wider terminal, or", style="dim"))
        console.print(Text(f"{command} --csv runs.csv", style="dim"), soft_wrap=True)
    if notes := _notes(collection.runs, grouping, table, metric, sort):
        console.print()
        console.print(Text("\n".join(notes)), style="dim")
    show_problems(console, collection)


def show_problems(console: Console, collection: Collection) -> None:
    """Print failed, skipped and unreadable runs, and why."""
    grouping = groups.group(collection.runs)
    failed = [run for own in grouping.groups for run in own.runs if run.state in ("failed", "killed")]
    _reasons(console, f"[red]{len(failed)} failed[/]", failed, with_log=True)
    _reasons(console, f"[cyan]{len(grouping.skipped)} skipped[/]", grouping.skipped, with_log=False)
    if left_out := collection.left_out:
        what = "folder" if len(left_out) == 1 else "folders"
        print_some(console, f"[red]{len(left_out)} {what} left out[/]", left_out)


def _show_task(console: Console, task: groups.Task, metric: str, sort: str) -> list[str]:
    """Print the table and the heat map of a task. Without the key to sort by, it is sorted by the metric. Returns the heads of
    columns that don't fit."""
    keys, table = aggregate_task(task, metric, sort)
    if not table:
        return []
    console.print()
    if task.label:
        console.print(Text(task.label, style="bold underline"))
    shown = keys or [key for key in ("norm", "model", "data") if key in task.runs[0].config]
    dropped = _print_table(console, shown, table, metric)
    if len(keys) == 2 and any(row.mean is not None for row in table):
        show_heatmap(console, table, keys, metric)
    return dropped


def _print_table(console: Console, keys: Sequence[str], table: Sequence[Row], metric: str) -> list[str]:
    """Print one line per row, with the columns `keys` first. Returns the heads of the columns that don't fit."""
    configs = [row.group.runs[0].config for row in table]
    columns = []
    for key in keys:
        cells = [groups.format_value(config.get(key)) for config in configs]
        numeric = all(isinstance(config.get(key), int | float | None) for config in configs)
        columns.append(Column(key, cells, math.inf if key == "norm" else need(1, cells), numeric))
    columns.append(Column(metric_title(metric), [format_mean_std(row, metric) for row in table], numeric=True))
    if (ranking := ranking_metric(metric)) != metric and any(row.score is not None for row in table):
        scores = [format_metric(row.score, metric) for row in table]
        columns.append(Column(metric_title(ranking), scores, numeric=True))
    columns.append(Column("n", [str(row.n) for row in table], numeric=True))
    logged = {tag for row in table for run in row.group.runs for tag in run.metrics}
    tags = {tag: head for tag, head in FURTHER_COLUMNS.items() if tag in logged - {metric}}
    extra = {head: [_format_mean(row, tag) for row in table] for tag, head in tags.items()}
    extra["steps trained" if "steps" in keys else "steps"] = [str(row.step) for row in table]
    columns += [Column(head, cells, need(-i, cells), numeric=True) for i, (head, cells) in enumerate(extra.items())]
    ends = [describe_outcome(row, metric) for row in table]
    columns += [Column("", ends)] if any(ends) else []
    shown, dropped = fit(columns, console.width)
    console.print(layout(shown, list(map(_color, table))))
    return dropped


def _color(row: Row) -> str:
    if row.states.get("diverged"):
        return "yellow"
    return "red" if row.states.get("failed") or row.states.get("killed") else ""


def _format_mean(row: Row, tag: str) -> str:
    """Mean over the completed runs; '-' if one of them has no value, since a mean over the others would be too good."""
    values = [run.metrics.get(tag) for run in row.group.runs if run.state == "completed"]
    present = [value for value in values if value is not None]
    return format_metric(mean_std(present)[0], tag) if len(present) == len(values) else "-"


def _notes(runs: Sequence[Run], grouping: groups.Grouping, table: Sequence[Row], metric: str, sort: str) -> list[str]:
    """Footnotes of the tables."""
    counted = [run for run in runs if run.state != "skipped"]
    logged = {tag for run in counted for tag in run.metrics}
    scores = sum(row.score is not None for row in table)
    missing = no_result(table, metric)
    if any("val/accuracy" in run.metrics for run in counted if run.state != "diverged"):
        missing += " --metric val/accuracy shows the latest validation accuracy." * bool(missing)
    samples = ", ".join(map(groups.format_value, groups.distinct_values("eval_samples", counted)))
    best = f"best val accuracy: the highest during training, on up to {samples} samples (eval_samples)."
    sampled = bool(samples) and scores and metric == DEFAULT_METRIC and "convergence/best_accuracy" in logged
    small = small_sample_note(table) or ""
    merged = [key for key in groups.differing(counted) if key not in grouping.keys]
    measured = logged & {"convergence/best_accuracy", "convergence/steps_to_90", metric}
    unlike = "Runs differ in eval_every or eval_samples: their convergence metrics (best, steps to) don't compare."
    repeated = "1 run repeats" if grouping.repeated == 1 else f"{grouping.repeated} runs repeat"
    notes = {
        f"Sorted by {ranking_title(metric)}{', best first' * has_direction(metric)}.": sort == "metric" and scores > 1,
        missing: missing,
        f"{best} val accuracy: at the end, on all.": sampled,
        "±: standard deviation over n runs.": any(row.n > 1 for row in table),
        small: small,
        f"Lower {metric_title(metric)} is better.": table and has_direction(metric) and not higher_is_better(metric),
        f"Rows average over runs that differ in {', '.join(merged)}.": merged,
        unlike: any(groups.evaluations_differ(tag, counted) for tag in measured),
        f"{repeated} the config and seed of another (counted once).": grouping.repeated,
        "Results on different data sets are neither averaged nor ranked together.": groups.task_keys(counted),
    }
    return [note for note, applies in notes.items() if applies]


def _reasons(console: Console, head: str, runs: Sequence[Run], *, with_log: bool) -> None:
    """Print one line per distinct error, the most frequent first."""
    if not runs:
        return
    by_reason: dict[str, list[Run]] = {}
    for run in runs:
        first = ((run.status["error"] or "").splitlines() or ["no reason recorded"])[0]
        by_reason.setdefault(first[:MAX_REASON], []).append(run)
    sentences = []
    for reason, same in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        log = f" ({printable(same[0].directory / 'train.log')})" if with_log else ""
        sentences.append(f"{len(same):4d}  {reason}{log}")
    print_some(console, head, sentences, more="and {} more reasons")
