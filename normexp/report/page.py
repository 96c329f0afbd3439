"""HTML page of a report: one file that needs no network, made from run directories only."""

import contextlib
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from normexp.html import Cell, Section, Table, link, render
from normexp.metrics import format_metric, has_direction, metric_axis, metric_title
from normexp.plotting.colors import LineStyle
from normexp.plotting.labels import file_stem
from normexp.plotting.style import figure_style
from normexp.plotting.svg import inline_svg
from normexp.report.aggregate import describe_outcome, ranking_metric, ranking_title
from normexp.report.analysis import Analysis, analyze_tasks
from normexp.report.compare_text import ComparisonText
from normexp.report.evaluations import conditions, last_evaluations
from normexp.report.figures.draw import draw_all
from normexp.report.groups import format_value, group, is_number
from normexp.report.histograms import draw_on_common_axes
from normexp.report.provenance import provenance
from normexp.report.read import Collection, Run
from normexp.report.summary import overview, results
from normexp.rundir import atomic, safe_read
from normexp.rundir.formats import finite

TEMPLATE = Path(__file__).parent / "templates" / "report.html.j2"

FIGURE_SECTIONS = {
    "curves": ("Convergence", "Loss and accuracy during training."),
    "sweep": ("Sweep", "The final metric against the swept keys."),
    "gradients": ("Gradients per layer", "Vanishing or exploding gradients show up in the earliest layers."),
    "activations": ("Activations per layer", "How far the activation inputs drift or saturate during training."),
}
"""Title and lead of the sections with figures, by their id."""

MAX_PRINTED_RUNS = 200
"""A longer table of runs stays folded when the page is printed."""

SHEET = "histograms.png"

MAX_SHEETS, MAX_SHEET_BYTES = 12, 3_000_000
"""Histogram sheets embedded in the page, to keep it small (base64 adds a third). Others are linked."""


def write_page(
    path: Path,
    collection: Collection,
    *,
    metric: str,
    by: Sequence[str] | None,
    title: str,
    compared: ComparisonText | None = None,
) -> list[str]:
    """Write the page atomically. Returns notes on what it leaves out, other than runs that could not be read. compared: shown
    first, if two folders are compared. Raises ConfigError for a key in `by` that no run has, OSError if the file can't be
    written."""
    runs = collection.runs
    grouping = group(runs, by)
    analyses = analyze_tasks(collection, metric=metric, by=by)
    sections = [_comparison_section(compared)] if compared else []
    notes: list[str] = []
    for analysis in analyses:
        parts, own_notes = _task_sections(analysis, path, share=len(analyses))
        if label := analysis.task.label:
            content = {"overview": overview(analysis.grouping, analysis.task.runs), "results": results(analysis)}
            sections.append(Section(_section_id(label), label, "task.html.j2", {**content, "parts": parts}))
            own_notes = [f"{label}: {note}" for note in own_notes]
        else:
            sections += parts
        notes += own_notes
    if (evaluations := _evaluation_table(runs, path)).rows:
        sections.append(Section("evaluations", "Evaluations", "evaluations.html.j2", evaluations, page_break=False))
    origin, provenance_notes = provenance(runs, grouping.keys)
    sections.append(Section("provenance", "Provenance", "provenance.html.j2", origin, page_break=False))
    reasons = Counter(run.status["error"] or "no reason recorded" for run in grouping.skipped)
    skipped = [f"{n} {'run' if n == 1 else 'runs'} skipped: {reason}" for reason, n in reasons.items()]
    notes += provenance_notes
    text = render(
        TEMPLATE,
        title=title,
        level=3,  # of the headings of figures
        overview=overview(grouping, runs, not_started=collection.not_started),
        results=results(analyses[0]) if len(analyses) == 1 else [],
        left_out=[*skipped, *collection.left_out, *notes],
        sections=sections,
        lines=_legend(analyses),
    )
    atomic.write_bytes(path, text.encode("utf-8", "replace"))  # names may have lone surrogates
    return notes


def _task_sections(analysis: Analysis, page: Path, *, share: int) -> tuple[list[Section], list[str]]:
    """Figures, histogram sheets and tables of a task, and notes on what they leave out. share: tasks on the page."""
    sections, notes = [], []
    with figure_style():
        for name, figures in draw_all(analysis).items():
            title, lead = FIGURE_SECTIONS[name]
            if figures:
                content = {"lead": lead, "figures": [(figure, inline_svg(figure)) for figure in figures]}
                sections.append(Section(name, title, "figures.html.j2", content, page_break=name != "curves"))
            elif name != "sweep":
                notes.append(f"No data for {title}.")
    if bad := analysis.bad_lines:
        notes.append(f"{bad} unreadable {'line' if bad == 1 else 'lines'} of metrics.jsonl ignored.")
    sheets, sheet_notes = _sheets(analysis, page, share=share)
    if any(sheets.values()):
        sections.append(Section("histograms", "Histograms", "histograms.html.j2", sheets))
    tables = {"groups": _group_table(analysis), "runs": _run_table(analysis, page)}
    printed = len(analysis.task.runs) <= MAX_PRINTED_RUNS
    sections.append(Section("table", "Table", "tables.html.j2", {**tables, "printed": printed}))
    if label := analysis.task.label:
        sections = [replace(section, id=f"{_section_id(label)}-{section.id}") for section in sections]
    return sections, [*notes, *sheet_notes]


def _comparison_section(text: ComparisonText) -> Section:
    config = Table(["config", "A", "B"], [[Cell(cell) for cell in cells] for cells in text.config])
    rows = []
    for i, row in enumerate(text.rows):
        kinds = ["", "number", "number", "number clear" if i in text.bold else "number", "", ""]
        rows.append([Cell(cell, kind=kind) for cell, kind in zip(row, kinds, strict=False)])
    content = {"text": text, "config": config, "differences": Table(text.heads, rows)}
    return Section("comparison", "Comparison", "comparison.html.j2", content, page_break=False)


def _section_id(label: str) -> str:
    return file_stem(label).replace(".", "-")  # a dot would start a class in CSS


def _legend(analyses: Sequence[Analysis]) -> list[tuple[LineStyle, list[str]]]:
    """Lines of all figures by name, each with the CSS selectors of its artists."""
    legend: dict[str, tuple[LineStyle, list[str]]] = {}
    for analysis in analyses:
        section = f"#{_section_id(analysis.task.label)} " if analysis.task.label else ""
        shown = analysis.layout.legend(analysis.grouping.groups)
        for i, style in enumerate(analysis.layout.styles):
            if style in shown:
                legend.setdefault(style.name, (style, []))[1].append(f"{section}svg .s{i}")
    return list(legend.values())


def _sheets(analysis: Analysis, page: Path, *, share: int) -> tuple[dict[str, Any], list[str]]:
    """Histogram sheets of one seed of each group, and notes. Groups in the figures by layer are embedded first. Two groups get
    common axes. share: the number of tasks that share the limits of the page."""
    ordered = [*analysis.inside.groups, *analysis.by_layer.groups, *analysis.grouping.groups]
    groups = list({id(own): own for own in ordered}.values())
    runs: list[Run] = []
    embedded: list[tuple[str, str, bytes]] = []
    linked, size = [], 0
    for own in groups:
        completed_first = sorted(own.runs, key=lambda run: run.state != "completed")
        run = next((run for run in completed_first if (run.directory / SHEET).is_file()), None)
        if run is None:
            continue
        address, png = link(run.directory / SHEET, page), b""
        if len(embedded) < max(1, MAX_SHEETS // share):
            with contextlib.suppress(OSError):  # too large, among others
                png = bytes(safe_read.read(run.directory / SHEET, max_bytes=MAX_SHEET_BYTES // share - size))
        if png.startswith(b"\x89PNG"):
            size += len(png)
            state = "" if run.state == "completed" else f", {run.state}"
            runs.append(run)
            embedded.append((f"{own.label}, seed {run.config.get('seed')}{state}", address, png))
        else:
            linked.append((own.label, address))
    common = draw_on_common_axes(runs) if len(groups) == len(runs) == 2 else []
    pictures = [b64encode(png).decode() for png in common or (png for *_, png in embedded)]
    sheets = [(label, address, picture) for (label, address, _), picture in zip(embedded, pictures, strict=True)]
    notes = []
    available = len(embedded) + len(linked)
    if missing := len(groups) - available:
        notes.append(f"{missing} of {len(groups)} groups have no {SHEET}.")
    if linked:
        notes.append(f"{len(embedded)} of {available} histogram figures are embedded; the others are linked.")
    return {"embedded": sheets, "linked": linked, "common": bool(common)}, notes


def _group_table(analysis: Analysis) -> Table:
    """One row per group, best first by validation."""
    metric, ranking = analysis.metric, ranking_metric(analysis.metric)
    rows = []
    outcomes = [describe_outcome(row, metric) for row in analysis.table]
    for row, outcome in zip(analysis.table, outcomes, strict=True):
        cells = [*map(_value_cell, row.group.values.values())]
        numbers = [row.mean, row.std, *[row.score] * (ranking != metric)]
        cells += [_number_cell(value, format_metric(value, metric).removesuffix(" %")) for value in numbers]
        cells += [_number_cell(count, str(count)) for count in (row.n, len(row.group.runs), row.step)]
        if any(outcomes):
            cells.append(Cell(outcome, kind="diverged" if row.states.get("diverged") else ""))
        rows.append(cells)
    heads = [*analysis.grouping.keys, metric_axis(metric), "± std", *[metric_axis(ranking)] * (ranking != metric)]
    steps = "steps trained" if "steps" in analysis.grouping.keys else "steps"
    about = f"Sorted by {ranking_title(metric)}{', best first' * has_direction(metric)}. ± std: standard deviation over n runs."
    return Table([*heads, "n", "runs", steps, *["outcome"] * any(outcomes)], rows, about=about)


def _run_table(analysis: Analysis, page: Path) -> Table:
    """One row per run, with a link to its directory."""
    metric, keys, rows = analysis.metric, analysis.grouping.keys, []
    for run in analysis.task.runs:
        value, seconds = run.metrics.get(metric), run.status["seconds"]
        cells = [Cell(run.name, kind="text", href=f"{link(run.directory, page)}/")]
        cells += [_value_cell(run.config.get(key)) for key in (*keys, "seed")]
        cells += [Cell(run.state, kind=run.state), _number_cell(value, format_metric(value, metric))]
        duration = _number_cell(seconds, f"{seconds:.1f}" if is_number(seconds) else "-")
        rows.append([*cells, _value_cell(run.status["step"]), duration, Cell(run.status["error"] or "", kind="text")])
    return Table(["run", *keys, "seed", "state", metric_title(metric), "step", "seconds", "error"], rows)


def _evaluation_table(runs: Sequence[Run], page: Path) -> Table:
    """One row per evaluation by `normexp eval`, with a link to the run's directory."""
    rows = []
    for run in runs:
        for entry in last_evaluations(run):
            numbers = [(value := finite(entry.get(key)), format_metric(value, key)) for key in ("accuracy", "loss")]
            name = Cell(run.name, kind="text", href=f"{link(run.directory, page)}/")
            rows.append([name, *map(Cell, conditions(entry)), *(_number_cell(*number) for number in numbers)])
    about = "The last evaluation of each kind by normexp eval. Recomputed statistics are those of the data in brackets."
    return Table(["run", "split", "shift", "statistics", "accuracy", "loss"], rows, about=about)


def _value_cell(value: Any) -> Cell:
    """A config value; numbers are right-aligned and sorted by size."""
    return _number_cell(float(value), format_value(value)) if is_number(value) else Cell(format_value(value))


def _number_cell(value: float | None, text: str) -> Cell:
    return Cell(text, "" if value is None else value, "number")
