"""Results on the terminal: the table over seeds, and what it leaves out. A sweep prints this at its end, too."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from normexp.config import printable
from normexp.console import print_line
from normexp.metrics import DEFAULT_METRIC, format_metric, higher_is_better, metric_title
from normexp.report.aggregate import Row, aggregate, check_metric, count_states, describe_outcome, format_mean_std
from normexp.report.groups import Grouping, differing, format_value, group
from normexp.report.heatmap import show_heatmap
from normexp.report.read import Collection, Run
from normexp.stats import mean_std

MAX_LISTED = 5
"""Reasons or messages of one kind that are printed; the rest is counted."""

MAX_REASON = 1000
"""Characters of a reason, since error messages can be megabytes."""


def show(
    console: Console,
    collection: Collection,
    *,
    metric: str = DEFAULT_METRIC,
    by: Sequence[str] | None = None,
    sort: str | None = None,
) -> None:
    """Print the table over seeds, a heat map of two swept keys, and failed, skipped and unreadable runs. Raises ConfigError."""
    check_metric(metric, collection.runs)
    grouping = group(collection.runs, by)
    table = aggregate(grouping, metric, sort=sort or "metric")
    console.print(Text(count_states(collection.runs)))
    if table:
        console.print()
        _print_table(console, grouping, table, metric)
    if len(grouping.keys) == 2 and any(row.mean is not None for row in table):
        show_heatmap(console, table, grouping.keys, metric)
    if notes := _notes(collection.runs, grouping, table, metric):
        console.print()
        console.print(Text("\n".join(notes)), style="dim")
    failed = [run for row in table for run in row.group.runs if run.state in ("failed", "killed")]
    _reasons(console, f"[red]{len(failed)} failed[/]", failed, with_log=True)
    _reasons(console, f"[cyan]{len(grouping.skipped)} skipped[/]", grouping.skipped, with_log=False)
    if left_out := collection.left_out:
        what = "folder was" if len(left_out) == 1 else "folders were"
        print_some(console, f"[red]{len(left_out)} {what} left out[/]", left_out)


def print_some(console: Console, head: str, sentences: Sequence[str], *, more: str = "and {} more") -> None:
    """Print a head and the first few sentences. more: printed with the number of the others."""
    console.print(f"\n{head}", highlight=False)
    for sentence in sentences[:MAX_LISTED]:
        print_line(console, f"  {sentence}")
    if len(sentences) > MAX_LISTED:
        console.print(f"  {more.format(len(sentences) - MAX_LISTED)}", highlight=False)


def _print_table(console: Console, grouping: Grouping, table: Sequence[Row], metric: str) -> None:
    configs = [row.group.runs[0].config for row in table]
    keys = grouping.keys or [key for key in ("norm", "model", "data") if key in configs[0]]
    printed = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for key in keys:
        numbers = all(isinstance(config.get(key), int | float | None) for config in configs)
        printed.add_column(Text(key), justify="right" if numbers else "left", overflow="fold")
    extra = _extra_columns(table, metric) if console.width >= 100 else {}
    for head in (metric_title(metric), "n", *extra):
        printed.add_column(Text(head), justify="right", no_wrap=True)
    ends = [describe_outcome(row, metric) for row in table]
    if any(ends):
        printed.add_column("", overflow="fold")
    for i, (row, config, end) in enumerate(zip(table, configs, ends, strict=True)):
        cells = [format_value(config.get(key)) for key in keys]
        cells += [format_mean_std(row, metric), str(row.n), *(column[i] for column in extra.values())]
        bad = "red" if row.states.get("failed") or row.states.get("killed") else ""
        colour = "yellow" if row.states.get("diverged") else bad
        printed.add_row(*map(Text, [*cells, *([end] if any(ends) else [])]), style=colour)
    console.print(printed)


def _extra_columns(table: Sequence[Row], metric: str) -> dict[str, list[str]]:
    """Further columns for wide consoles, by head, if any run has the metric."""
    heads = {
        "convergence/best_accuracy": "best val accuracy",
        "convergence/steps_to_90": "steps to 90 %",
        "train/loss": "train loss",
    }
    columns = {}
    for tag, head in heads.items():
        if tag != metric and any(tag in run.metrics for row in table for run in row.group.runs):
            columns[head] = [_format_mean(row, tag) for row in table]
    return {**columns, "steps": [str(row.step) for row in table]}


def _format_mean(row: Row, tag: str) -> str:
    """Mean over the completed runs; '-' if one of them has no value, since a mean over the others would be too good."""
    values = [run.metrics.get(tag) for run in row.group.runs if run.state == "completed"]
    present = [value for value in values if value is not None]
    return format_metric(mean_std(present)[0], tag) if len(present) == len(values) else "-"


def _notes(runs: Sequence[Run], grouping: Grouping, table: Sequence[Row], metric: str) -> list[str]:
    """Footnotes of the table."""
    notes = []
    counted = [run for run in runs if run.state != "skipped"]
    if all(row.n == 0 for row in table) and any("val/accuracy" in run.metrics for run in counted):
        notes.append(f"No run has a {metric_title(metric)} yet: --metric val/accuracy shows how far they are.")
    if any(row.n > 1 for row in table):
        notes.append("± is the standard deviation over the n runs of a row.")
    if table and not higher_is_better(metric):
        notes.append(f"The lower the {metric_title(metric)}, the better.")
    if merged := [key for key in differing(counted) if key not in grouping.keys]:
        notes.append(f"Each row takes runs together that differ in {', '.join(merged)}.")
    if grouping.repeated:
        notes.append(f"{grouping.repeated} of the runs have config and seed of another one, and are not counted again.")
    return notes


def _reasons(console: Console, head: str, runs: Sequence[Run], *, with_log: bool) -> None:
    """Print one line per distinct error, the most frequent first."""
    if not runs:
        return
    by_reason: dict[str, list[Run]] = {}
    for run in runs:
        first = ((run.status["error"] or "").splitlines() or ["no reason given"])[0]
        by_reason.setdefault(first[:MAX_REASON], []).append(run)
    sentences = []
    for reason, same in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        log = f" ({printable(same[0].directory / 'train.log')})" if with_log else ""
        sentences.append(f"{len(same):4d}  {reason}{log}")
    print_some(console, head, sentences, more="and for {} more reasons")
