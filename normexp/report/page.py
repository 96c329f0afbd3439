"""HTML page of a report: one file that needs no network, made from run directories only."""

import contextlib
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from normexp.html import Cell, Section, Table, link, render
from normexp.metrics import format_metric, metric_axis, metric_heading, metric_title
from normexp.plotting.style import figure_style
from normexp.plotting.svg import inline_svg
from normexp.report.aggregate import Row, count_states, describe_outcome, format_mean_std
from normexp.report.analysis import Analysis, analyze
from normexp.report.figures.draw import draw_all
from normexp.report.groups import distinct_values, format_value, is_number
from normexp.report.provenance import provenance
from normexp.report.read import Collection, Run
from normexp.rundir import atomic, safe_read

TEMPLATE = Path(__file__).parent / "templates" / "report.html.j2"

FIGURE_SECTIONS = {
    "curves": ("Convergence", "What training does, step by step."),
    "sweep": ("What was swept", "The final metric against what differs between the runs."),
    "gradients": (
        "Gradients by layer",
        "Whether the loss reaches the first layers: their gradients neither vanish nor explode.",
    ),
    "activations": ("Activations by layer", "Whether the values that enter the activations stay where they were."),
}
"""Title and lead of the sections with figures, by their id."""

MAX_PRINTED_RUNS = 200
"""A longer table of runs stays folded when the page is printed."""

SHEET = "histograms.png"

MAX_SHEETS, MAX_SHEET_BYTES = 12, 3_000_000
"""Histogram sheets embedded in the page, to keep it small (base64 adds a third). Others are linked."""


def write_page(path: Path, collection: Collection, *, metric: str, by: Sequence[str] | None, title: str) -> list[str]:
    """Write the page atomically. Returns notes on what it leaves out, other than runs that could not be read.

    Raises ConfigError for a key in `by` that no run has, OSError if the file can't be written.
    """
    runs = collection.runs
    analysis = analyze(collection, metric=metric, by=by)
    sections, notes = _figure_sections(analysis)
    sheets, sheet_notes = _sheets(analysis, path)
    if any(sheets.values()):
        sections.append(Section("histograms", "Histograms", "histograms.html.j2", sheets))
    tables = {"groups": _group_table(analysis), "runs": _run_table(runs, analysis, path)}
    printed = len(runs) <= MAX_PRINTED_RUNS
    sections.append(Section("table", "Table", "tables.html.j2", {**tables, "printed": printed}))
    origin, provenance_notes = provenance(runs, analysis.grouping.keys)
    sections.append(Section("made", "How it was made", "provenance.html.j2", origin, page_break=False))
    if analysis.bad_lines:
        what = "line of metrics.jsonl files is" if analysis.bad_lines == 1 else "lines of metrics.jsonl files are"
        notes.append(f"{analysis.bad_lines} {what} left out: unreadable.")
    notes += [*sheet_notes, *provenance_notes]
    reasons = Counter(run.status["error"] or "no reason was recorded" for run in analysis.grouping.skipped)
    skipped = [f"{n} {'run was' if n == 1 else 'runs were'} skipped: {reason}" for reason, n in reasons.items()]
    text = render(
        TEMPLATE,
        title=title,
        overview=_overview(analysis, runs),
        results=_results(analysis),
        left_out=[*skipped, *collection.left_out, *notes],
        sections=sections,
        lines=analysis.layout.legend(analysis.grouping.groups),
    )
    atomic.write_bytes(path, text.encode("utf-8", "replace"))  # names may have lone surrogates
    return notes


def _figure_sections(analysis: Analysis) -> tuple[list[Section], list[str]]:
    """Sections with figures, and notes on what they leave out."""
    sections, notes = [], []
    with figure_style():
        for name, figures in draw_all(analysis).items():
            title, lead = FIGURE_SECTIONS[name]
            if figures:
                content = {"lead": lead, "figures": [(figure, inline_svg(figure)) for figure in figures]}
                sections.append(Section(name, title, "figures.html.j2", content, page_break=name != "curves"))
                notes += [f"{figure.title}: {note}" for figure in figures for note in figure.notes]
            elif name != "sweep" or analysis.grouping.keys:
                notes.append(f"No run has what would be drawn under '{title}'.")
    return sections, notes


def _sheets(analysis: Analysis, page: Path) -> tuple[dict[str, list[tuple[str, ...]]], list[str]]:
    """Histogram sheets of one seed of each group, and notes. Groups in the figures by layer are embedded first."""
    ordered = [*analysis.inside.groups, *analysis.by_layer.groups, *analysis.grouping.groups]
    groups = list({id(group): group for group in ordered}.values())
    embedded: list[tuple[str, ...]] = []
    linked: list[tuple[str, ...]] = []
    size = 0
    for group in groups:
        completed_first = sorted(group.runs, key=lambda run: run.state != "completed")
        run = next((run for run in completed_first if (run.directory / SHEET).is_file()), None)
        if run is None:
            continue
        sheet = run.directory / SHEET
        png: bytes | bytearray = b""
        if len(embedded) < MAX_SHEETS:
            with contextlib.suppress(OSError):  # too large, among others
                png = safe_read.read(sheet, max_bytes=MAX_SHEET_BYTES - size)
        if png.startswith(b"\x89PNG"):
            size += len(png)
            state = "" if run.state == "completed" else f", {run.state}"
            label = f"{group.label}, seed {run.config.get('seed')}{state}"
            embedded.append((label, link(sheet, page), b64encode(png).decode()))
        else:
            linked.append((group.label, link(sheet, page)))
    notes = []
    available = len(embedded) + len(linked)
    if missing := len(groups) - available:
        notes.append(f"{missing} of {len(groups)} groups have no {SHEET}.")
    if linked:
        notes.append(f"{len(embedded)} of {available} histogram sheets are in the page; the others are linked.")
    return {"embedded": embedded, "linked": linked}, notes


def _overview(analysis: Analysis, runs: Sequence[Run]) -> list[str]:
    """Sentences on how many runs there are, when they started, and what was swept."""
    started = sorted(run.status["started"] for run in runs if run.status["started"])
    ends = dict.fromkeys(time[:16].replace("T", " ") for time in (*started[:1], *started[-1:]))
    sentences = [count_states(runs) + (f", started {' to '.join(ends)} UTC." if ends else ".")]
    if analysis.grouping.keys:
        members = [run for group in analysis.grouping.groups for run in group.runs]
        swept = []
        for key in analysis.grouping.keys:
            words = [format_value(value) for value in distinct_values(key, members)]
            shown = words if len(words) <= 8 else [*words[:4], f"... {len(words) - 5} more", words[-1]]
            swept.append(f"{key} ({', '.join(shown)})")
        seeds = len(distinct_values("seed", members))
        sentences.append(f"Swept: {', '.join(swept)}; {seeds} {'seed' if seeds == 1 else 'seeds'}.")
    return sentences


def _results(analysis: Analysis) -> list[str]:
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
        parts = []
        for line, row in best.items():
            setting = " ".join(f"{key}={format_value(row.group.values[key])}" for key in layout.panel_keys)
            parts.append(f"{layout.names[line]} {format_metric(row.mean, metric)} ({setting})")
        sentences.append(f"Each at its best: {', '.join(parts)}.")
    diverged = [0] * len(layout.lines)
    for row in analysis.table:
        diverged[layout.line(row.group)] += row.states.get("diverged", 0)
    if any(diverged):
        runs = sum(len(row.group.runs) for row in analysis.table)
        by_line = ", ".join(f"{n} of {name}" for n, name in zip(diverged, layout.names, strict=True) if n)
        lines = f" ({by_line})" if len(diverged) > 1 else ""
        sentences.append(f"Diverged: {sum(diverged)} of {runs} runs{lines}.")
    return sentences


def _group_table(analysis: Analysis) -> Table:
    """One row per group, best first."""
    metric = analysis.metric
    rows = []
    for row in analysis.table:
        cells = [*map(_value_cell, row.group.values.values())]
        cells += [_number_cell(value, format_metric(value, metric).removesuffix(" %")) for value in (row.mean, row.std)]
        cells += [_number_cell(count, str(count)) for count in (row.n, len(row.group.runs), row.step)]
        outcome = Cell(describe_outcome(row, metric), kind="diverged" if row.states.get("diverged") else "")
        rows.append([*cells, outcome])
    return Table([*analysis.grouping.keys, metric_axis(metric), "± std", "n", "runs", "steps", "outcome"], rows)


def _run_table(runs: Sequence[Run], analysis: Analysis, page: Path) -> Table:
    """One row per run, with a link to its directory."""
    metric, keys = analysis.metric, analysis.grouping.keys
    rows = []
    for run in runs:
        value, seconds = run.metrics.get(metric), run.status["seconds"]
        cells = [Cell(run.name, kind="text", href=f"{link(run.directory, page)}/")]
        cells += [_value_cell(run.config.get(key)) for key in (*keys, "seed")]
        cells += [Cell(run.state, kind=run.state), _number_cell(value, format_metric(value, metric))]
        cells.append(_value_cell(run.status["step"]))
        cells.append(_number_cell(seconds, f"{seconds:.1f}") if is_number(seconds) else _number_cell(None, "-"))
        rows.append([*cells, Cell(run.status["error"] or "", kind="text")])
    return Table(["run", *keys, "seed", "state", metric_title(metric), "step", "seconds", "error"], rows)


def _measured(row: Row, metric: str) -> str:
    return f"{format_mean_std(row, metric)} ({'; '.join(filter(None, [f'n={row.n}', describe_outcome(row, metric)]))})"


def _value_cell(value: Any) -> Cell:
    """A config value; numbers are right-aligned and sorted by size."""
    return _number_cell(float(value), format_value(value)) if is_number(value) else Cell(format_value(value))


def _number_cell(value: float | None, text: str) -> Cell:
    return Cell(text, "" if value is None else value, "number")
