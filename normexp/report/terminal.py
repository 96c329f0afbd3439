"""The table on the terminal, with what it leaves out; also what a sweep prints at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from normexp.report.aggregate import (
    DEFAULT_METRIC,
    Row,
    check_metric,
    check_sort,
    counts,
    higher_is_better,
    mean_and_std,
    number,
    outcome,
    rows,
    spread,
    title,
)
from normexp.report.groups import Grouping, differing, group, word
from normexp.report.heatmap import show_heatmap
from normexp.report.read import Collection, Run
from normexp.rundir.safe_read import printable

PLAIN_KEYS = ["norm", "model", "data"]
"""Shown where all runs have one config."""

MOST = 5
"""Reasons and sentences of one kind, before the rest is only counted."""

LONGEST = 1000
"""Characters of a reason."""


def show(
    console: Console,
    collection: Collection,
    *,
    metric: str = DEFAULT_METRIC,
    by: Sequence[str] | None = None,
    sort: str | None = None,
) -> None:
    """Print the table over seeds, best first; a heat map where two keys are swept; what failed, was skipped and left out.

    Raises ConfigError for a metric, a key of `by`, or a `sort` that there is not. Reads no files.
    """
    check_metric(metric, collection.runs)
    grouping = group(collection.runs, by)
    check_sort(sort or "metric", grouping.keys)
    table = rows(grouping, metric, sort=sort or "metric")
    console.print(Text(counts(collection.runs)), highlight=False)
    if table:
        console.print()
        _print_table(console, grouping, table, metric)
    if len(grouping.keys) == 2 and any(row.mean is not None for row in table):
        show_heatmap(console, table, grouping.keys, metric)
    notes = _notes(collection.runs, grouping, table, metric)
    if notes:
        console.print()
    for note in notes:
        console.print(Text(note), style="dim", highlight=False)
    failed = [run for row in table for run in row.group.runs if run.state in ("failed", "killed")]
    _reasons(console, f"[red]{len(failed)} failed[/]", failed, with_place=True)
    skipped = grouping.skipped
    _reasons(console, f"[cyan]{len(skipped)} skipped[/]", skipped, with_place=False)
    sentences(console, collection.left_out)


def sentences(console: Console, left_out: Sequence[str]) -> None:
    """Print what could not be read: each of a few, the number of the rest."""
    if not left_out:
        return
    what = "folder was" if len(left_out) == 1 else "folders were"
    console.print(f"\n[red]{len(left_out)} {what} left out[/]", highlight=False)
    for sentence in left_out[:MOST]:
        console.print(f"  {sentence}", soft_wrap=True, markup=False, highlight=False)
    if len(left_out) > MOST:
        console.print(f"  and {len(left_out) - MOST} more", highlight=False)


def _print_table(console: Console, grouping: Grouping, table: Sequence[Row], metric: str) -> None:
    configs = [row.group.runs[0].config for row in table]
    keys = grouping.keys or [key for key in PLAIN_KEYS if key in configs[0]]
    printed = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for key in keys:
        numbers = all(isinstance(config.get(key), int | float | None) for config in configs)
        printed.add_column(Text(key), justify="right" if numbers else "left", overflow="fold")
    printed.add_column(Text(title(metric)), justify="right", no_wrap=True)
    printed.add_column("n", justify="right", no_wrap=True)
    more = _further(table, metric) if console.width >= 100 else {}
    for head in more:
        printed.add_column(Text(head), justify="right", no_wrap=True)
    ends = [outcome(row, metric) for row in table]
    if any(ends):
        printed.add_column("", overflow="fold")
    for row, config, end in zip(table, configs, ends, strict=True):
        cells = [word(config.get(key)) for key in keys]
        cells += [mean_and_std(row, metric), str(row.n), *(cell(row) for cell in more.values())]
        bad = "red" if row.states.get("failed") or row.states.get("killed") else ""
        colour = "yellow" if row.states.get("diverged") else bad
        printed.add_row(*map(Text, [*cells, *([end] if any(ends) else [])]), style=colour)
    console.print(printed, highlight=False)


def _further(table: Sequence[Row], metric: str) -> dict[str, Callable[[Row], str]]:
    """Columns for wide consoles, where the runs have them: their heads, and a row's cell."""
    columns: dict[str, Callable[[Row], str]] = {}
    for tag in ("convergence/best_accuracy", "convergence/steps_to_90", "train/loss"):
        if tag != metric and any(tag in run.metrics for row in table for run in row.group.runs):
            head = tag.removeprefix("convergence/").replace("best_", "best val ").replace("_90", " 90 %")
            columns[title(head)] = _cell_of(tag)
    columns["steps"] = lambda row: str(row.step)
    return columns


def _cell_of(tag: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        values = [run.metrics.get(tag) for run in row.group.runs if run.state == "completed"]
        present = [value for value in values if value is not None]
        # A mean over those alone that got there would flatter
        return number(spread(present)[0], tag) if len(present) == len(values) else "-"

    return cell


def _notes(runs: Sequence[Run], grouping: Grouping, table: Sequence[Row], metric: str) -> list[str]:
    """What one should know to read the table rightly."""
    notes = []
    if all(row.n == 0 for row in table) and any(
        "val/accuracy" in run.metrics for run in runs if run.state != "skipped"
    ):
        notes.append(f"No run has a {title(metric)} yet: --metric val/accuracy shows how far they are.")
    if any(row.n > 1 for row in table):
        notes.append("± is the standard deviation over the n runs of a row.")
    if table and not higher_is_better(metric):
        notes.append(f"The lower the {title(metric)}, the better.")
    counted = [run for run in runs if run.state != "skipped"]
    if merged := [key for key in differing(counted) if key not in grouping.keys]:
        notes.append(f"Each row takes runs together that differ in {', '.join(merged)}.")
    if grouping.repeated:
        notes.append(f"{grouping.repeated} of the runs have config and seed of another one, and are not counted again.")
    return notes


def _reasons(console: Console, head: str, runs: Sequence[Run], *, with_place: bool) -> None:
    """A line for each reason that runs give, the most frequent first."""
    if not runs:
        return
    by_reason: dict[str, list[Run]] = {}
    for run in runs:
        first = (str(run.status.get("error") or "").splitlines() or ["no reason given"])[0]
        by_reason.setdefault(first[:LONGEST], []).append(run)
    console.print(f"\n{head}", highlight=False)
    for reason, same in sorted(by_reason.items(), key=lambda item: -len(item[1]))[:MOST]:
        place = f" ({printable(same[0].directory / 'train.log')})" if with_place else ""
        console.print(f"  {len(same):4d}  {reason}{place}", soft_wrap=True, markup=False, highlight=False)
    if len(by_reason) > MOST:
        console.print(f"  and for {len(by_reason) - MOST} more reasons", highlight=False)
