"""Metrics with their meanings: every known one, or those that runs logged, with their last values."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from normexp import probes
from normexp.metrics import MEANINGS, find_pattern, format_metric, is_fraction
from normexp.report.columns import plain_table
from normexp.report.read import Run


def known_metrics() -> dict[str, str]:
    """Meanings by pattern, such as grad_flow/LAYER: first the metrics of every run, then those of the probes."""
    return {**MEANINGS, **probes.meanings()}


def logged_metrics(runs: Sequence[Run], *, by_layer: bool = False) -> list[tuple[str, str, str]]:
    """Name, last value (a range for several runs or layers) and meaning of each metric that the runs logged. by_layer: one row
    per tag instead of one for all layers. A meaning that several rows share is in the first of them."""
    meanings = known_metrics()
    tags: dict[str, dict[str, None]] = {pattern: {} for pattern in meanings}
    for tag in dict.fromkeys(tag for run in runs for tag in run.metrics):
        tags.setdefault(find_pattern(tag, meanings) or tag, {})[tag] = None
    rows = []
    for pattern, own in tags.items():
        one_row = "LAYER" in pattern and not by_layer
        meaning = meanings.get(pattern, "")
        for name, members in {pattern: list(own)}.items() if one_row else {tag: [tag] for tag in own}.items():
            if members:
                rows.append((name, _last_values(runs, pattern, members), meaning))
                meaning = ""
    return rows


def _last_values(runs: Sequence[Run], pattern: str, tags: Sequence[str]) -> str:
    parts = pattern.count("/") + 1
    if len({tuple(tag.split("/")[parts:]) for tag in tags}) > 1:  # such as mean and std, which have no common range
        means = [tag for tag in tags if tag.endswith("/mean")]
        return f"mean {_last_values(runs, pattern, means)}" if means else f"{len(tags)} values"
    values = [value for run in runs for tag in tags if (value := run.metrics.get(tag)) is not None]
    ends = dict.fromkeys(_format(value, pattern) for value in (min(values), max(values))) if values else ["-"]
    return " to ".join(ends)


def _format(value: float, metric: str) -> str:
    if is_fraction(metric):
        return format_metric(value, metric)
    return f"{value:.0f}" if 100 <= abs(value) < 1e6 else f"{value:.3g}"


def show_metrics(console: Console, runs: Sequence[Run] | None, *, by_layer: bool = False) -> None:
    """Print the metrics that the runs logged; without runs, every known metric."""
    table = plain_table()
    table.add_column("metric", no_wrap=True)
    if runs is None:
        rows: list[tuple[str, ...]] = list(known_metrics().items())
    else:
        rows = list(logged_metrics(runs, by_layer=by_layer))
        table.add_column("last value", justify="right", no_wrap=True)
    table.add_column("meaning", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
    note = "LAYER is the name of a layer, PERCENT one of 50, 80, 90, 95, 99."
    if runs is not None:
        several = "layers and runs" if len(runs) > 1 else "layers"
        note = f"LAYER: range over {several}; normexp metrics RUN --layers lists every layer."
    if any("LAYER" in row[0] for row in rows):
        console.print()
        console.print(Text(note), style="dim")
