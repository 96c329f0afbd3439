"""Sentences at the top of a report: which runs there are, what was swept, and the best results by validation."""

from collections.abc import Sequence

from normexp.metrics import format_metric, has_direction, metric_heading, metric_title
from normexp.report.aggregate import (
    Row,
    count_states,
    describe_outcome,
    format_mean_std,
    no_result,
    ranking_metric,
    ranking_title,
    small_sample_note,
)
from normexp.report.analysis import Analysis
from normexp.report.groups import Grouping, distinct_values, format_value, task_keys
from normexp.report.read import Run


def overview(grouping: Grouping, runs: Sequence[Run], *, not_started: int = 0) -> list[str]:
    """Sentences on how many runs there are, when they started, and what was swept."""
    started = sorted(run.status["started"] for run in runs if run.status["started"])
    ends = dict.fromkeys(time[:16].replace("T", " ") for time in (*started[:1], *started[-1:]))
    sentences = [count_states(runs, not_started=not_started) + (f", started {' to '.join(ends)} UTC." if ends else ".")]
    if task_keys(runs):
        names = ", ".join(map(format_value, distinct_values("data", runs)))
        return [*sentences, f"Data sets: {names}. Results are neither averaged nor ranked across data sets."]
    if grouping.keys:
        members = [run for group in grouping.groups for run in group.runs]
        swept = []
        for key in grouping.keys:
            words = [format_value(value) for value in distinct_values(key, members)]
            shown = words if len(words) <= 8 else [*words[:4], f"... {len(words) - 5} more", words[-1]]
            swept.append(f"{key} ({', '.join(shown)})")
        seeds = len(distinct_values("seed", members))
        planned = any((run.directory.parent / "sweep.json").is_file() for run in members)
        head = "Swept" if planned else "Compared"
        sentences.append(f"{head}: {', '.join(swept)}; {seeds} {'seed' if seeds == 1 else 'seeds'}.")
    return sentences


def results(analysis: Analysis) -> list[str]:
    """Sentences on the best group and the best group of each line, chosen by validation, and on diverged runs."""
    metric, layout = analysis.metric, analysis.layout
    done = [row for row in analysis.table if row.mean is not None]
    if not done:
        return list(filter(None, [no_result(analysis.table, metric)]))
    sentences = []
    ranked = [row for row in done if row.score is not None]
    by_validation = ranking_metric(metric) != metric
    if len(analysis.table) == 1:
        sentences.append(f"{metric_heading(metric)}: {_measured(done[0], metric)}.")
    elif ranked and has_direction(metric):
        label, measured = ranked[0].group.label, _measured(ranked[0], metric)
        by = f"Best by {ranking_title(metric)}: {label}, {metric_title(metric)} {measured}."
        sentences.append(by if by_validation else f"Best {metric_title(metric)}: {label}, {measured}.")
    best: dict[int, Row] = {}
    for row in ranked if has_direction(metric) else ():
        best.setdefault(layout.line(row.group), row)
    if len(best) > 1 and layout.panel_keys:
        parts = []
        for line, row in best.items():
            setting = " ".join(f"{key}={format_value(row.group.values[key])}" for key in layout.panel_keys)
            parts.append(f"{layout.names[line]} {format_metric(row.mean, metric)} ({setting})")
        keys = ", ".join(layout.panel_keys) if len(layout.panel_keys) < 4 else "setting"
        chosen = f", chosen by {ranking_title(metric)}" if by_validation else ""
        head = f"{metric_heading(metric)} of each {layout.line_keys[0]} at its best {keys}{chosen}"
        sentences.append(f"{head}: {', '.join(parts)}.")
    diverged = [0] * len(layout.lines)
    for row in analysis.table:
        diverged[layout.line(row.group)] += row.states.get("diverged", 0)
    if any(diverged):
        runs = sum(len(row.group.runs) for row in analysis.table)
        by_line = ", ".join(f"{n} of {name}" for n, name in zip(diverged, layout.names, strict=True) if n)
        lines = f" ({by_line})" if len(diverged) > 1 else ""
        sentences.append(f"Diverged: {sum(diverged)} of {runs} runs{lines}.")
    if warning := small_sample_note(analysis.table):
        sentences.append(warning)
    return sentences


def _measured(row: Row, metric: str) -> str:
    return f"{format_mean_std(row, metric)} ({'; '.join(filter(None, [f'n={row.n}', describe_outcome(row, metric)]))})"
