"""The tables of the page, and what they say in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from normexp.plotting.style import heading
from normexp.plotting.svg import esc
from normexp.report.aggregate import Row, counts, is_share, mean_and_std, number, outcome, title
from normexp.report.figures.panels import is_number
from normexp.report.figures.study import Study
from normexp.report.groups import values_of, word
from normexp.report.page_html import Cell, link, table, value_cell
from normexp.report.read import Run


def headline(study: Study, runs: Sequence[Run], *, name: str) -> str:
    """Title, time, how many runs there are and what was swept, and what came out."""
    began = sorted(str(run.status["started"]) for run in runs if run.status.get("started"))
    when = " to ".join(dict.fromkeys(each[:16].replace("T", " ") for each in (began[0], began[-1]))) if began else ""
    members = [run for group in study.grouping.groups for run in group.runs]
    swept = [f"{key} ({_values(values_of(key, members))})" for key in study.grouping.keys]
    seeds = len(values_of("seed", members))
    lines = [
        counts(runs) + ("." if not began else f", started {when} UTC."),
        f"Swept: {', '.join(swept)}; {seeds} {'seed' if seeds == 1 else 'seeds'}." if swept else "",
    ]
    told = "".join(f"<p>{esc(sentence)}</p>" for sentence in results(study))
    return (
        f"<h1>{esc(name)}</h1>"
        + "".join(f'<p class="soft">{esc(line)}</p>' for line in lines if line)
        + (f'<div class="result">{told}</div>' if told else "")
    )


def results(study: Study) -> list[str]:
    """The best group, the best of each line, and how many runs diverged, in a sentence each."""
    done = [row for row in study.table if row.mean is not None]
    if not done:
        return [f"No run has a {title(study.metric)} yet."] if study.table else []
    best = done[0]
    sentences = [f"Best {title(study.metric)}: {best.group.label}, {_measured(best, study.metric)}."]
    if len(study.table) == 1:
        sentences = [f"{heading(study.metric)}: {_measured(best, study.metric)}."]
    of_line: dict[int, Row] = {}
    for row in done:
        of_line.setdefault(study.plan.line(row.group), row)
    if len(of_line) > 1 and study.plan.others:
        each = [
            f"{study.plan.names[line]} {number(row.mean, study.metric)} "
            f"({' '.join(f'{key}={word(row.group.values[key])}' for key in study.plan.others)})"
            for line, row in of_line.items()
        ]
        sentences.append(f"Each at its best: {', '.join(each)}.")
    lost = dict.fromkeys(range(len(study.plan.lines)), 0)
    for row in study.table:
        lost[study.plan.line(row.group)] += row.states.get("diverged", 0)
    if any(lost.values()):
        ended = sum(len(row.group.runs) for row in study.table)
        by_line = ", ".join(f"{n} of {study.plan.names[line]}" for line, n in lost.items() if n)
        sentences.append(
            f"Diverged: {sum(lost.values())} of {ended} runs" + (f" ({by_line})." if len(lost) > 1 else ".")
        )
    return sentences


def group_table(study: Study) -> str:
    """A row a group, best first."""
    metric = study.metric
    heads = [
        *study.grouping.keys,
        f"{title(metric)}{' (%)' if is_share(metric) else ''}",
        "± std",
        "n",
        "runs",
        "steps",
        "outcome",
    ]
    factor = 100 if is_share(metric) else 1
    rows = [
        [
            *(value_cell(value) for value in row.group.values.values()),
            _number(row.mean, factor),
            _number(row.std, factor),
            Cell(str(row.n), row.n, "number"),
            Cell(str(len(row.group.runs)), len(row.group.runs), "number"),
            Cell(str(row.step), row.step, "number"),
            Cell(esc(outcome(row, metric)), kind="diverged" if row.states.get("diverged") else ""),
        ]
        for row in study.table
    ]
    return table(heads, rows)


def run_table(runs: Sequence[Run], study: Study, page: Path) -> str:
    """A row a run, with a link to its directory."""
    metric = study.metric
    heads = ["run", *study.grouping.keys, "seed", "state", title(metric), "step", "seconds", "error"]
    rows = []
    for run in runs:
        seconds, value = run.status.get("seconds"), run.metrics.get(metric)
        rows.append(
            [
                Cell(f'<a href="{esc(link(run.directory, page))}/">{esc(run.name)}</a>', kind="text"),
                *(value_cell(run.config.get(key)) for key in study.grouping.keys),
                value_cell(run.config.get("seed")),
                Cell(f'<span class="{esc(run.state)}">{esc(run.state)}</span>'),
                Cell(esc(number(value, metric)), "" if value is None else value, "number"),
                value_cell(run.status.get("step")),
                Cell(f"{seconds:.1f}", seconds, "number") if is_number(seconds) else Cell("-", "", "number"),
                Cell(esc(run.status.get("error") or ""), kind="text"),
            ]
        )
    return table(heads, rows)


def _measured(row: Row, metric: str) -> str:
    return f"{mean_and_std(row, metric)} ({'; '.join(filter(None, [f'n={row.n}', outcome(row, metric)]))})"


def _number(value: float | None, factor: float) -> Cell:
    if value is None:
        return Cell("-", "", "number")
    return Cell(f"{factor * value:.2f}" if factor > 1 else f"{value:.4g}", value, "number")


def _values(values: Sequence[Any]) -> str:
    words = [word(value) for value in values]
    return ", ".join(words if len(words) <= 8 else [*words[:4], f"... {len(words) - 5} more", words[-1]])
