"""HTML page of a report: one file that needs no network, made from run directories only."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from normexp.html import Section, link, render
from normexp.plotting.style import DrawnFigure, figure_style
from normexp.plotting.svg import inline_svg
from normexp.report.analysis import Analysis, analyze
from normexp.report.figures.draw import draw_all
from normexp.report.groups import Group
from normexp.report.page_tables import RunTables, group_table, overview, results, run_table
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


@dataclass(frozen=True)
class InlineFigure:
    drawn: DrawnFigure
    svg: str


@dataclass(frozen=True)
class Figures:
    """A section of figures."""

    lead: str
    figures: list[InlineFigure]


@dataclass(frozen=True)
class Sheet:
    """Histogram sheet of a run. png: base64; empty if the sheet is only linked."""

    label: str
    href: str
    png: str = ""


@dataclass(frozen=True)
class Sheets:
    embedded: list[Sheet]
    linked: list[Sheet]


def write_page(path: Path, collection: Collection, *, metric: str, by: Sequence[str] | None, title: str) -> list[str]:
    """Write the page atomically. Returns notes on what it leaves out, other than runs that could not be read.

    Raises ConfigError for a key in `by` that no run has, OSError if the file can't be written.
    """
    runs = collection.runs
    analysis = analyze(collection, metric=metric, by=by)
    sections, notes = _figure_sections(analysis)
    sheets, sheet_notes = _sheets(analysis, path)
    if sheets.embedded or sheets.linked:
        sections.append(Section("histograms", "Histograms", "histograms.html.j2", sheets))
    tables = RunTables(group_table(analysis), run_table(runs, analysis, path), printed=len(runs) <= MAX_PRINTED_RUNS)
    origin, provenance_notes = provenance(runs, analysis.grouping.keys)
    sections.append(Section("table", "Table", "tables.html.j2", tables))
    sections.append(Section("made", "How it was made", "provenance.html.j2", origin, page_break=False))
    if analysis.bad_lines:
        what = "line of metrics.jsonl files is" if analysis.bad_lines == 1 else "lines of metrics.jsonl files are"
        notes.append(f"{analysis.bad_lines} {what} left out: unreadable.")
    notes += [*sheet_notes, *provenance_notes]
    text = render(
        TEMPLATE,
        title=title,
        overview=overview(analysis, runs),
        results=results(analysis),
        left_out=[*_skipped(analysis), *collection.left_out, *notes],
        sections=sections,
        lines=analysis.layout.legend,
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
                content = Figures(lead, [InlineFigure(figure, inline_svg(figure)) for figure in figures])
                sections.append(Section(name, title, "figures.html.j2", content, page_break=name != "curves"))
                notes += [f"{figure.title}: {note}" for figure in figures for note in figure.notes]
            elif name != "sweep" or analysis.grouping.keys:
                notes.append(f"No run has what would be drawn under '{title}'.")
    return sections, notes


def _skipped(analysis: Analysis) -> list[str]:
    """Sentences on combinations that could not be trained, one per reason."""
    reasons = Counter(str(run.status.get("error") or "no reason was recorded") for run in analysis.grouping.skipped)
    return [f"{n} {'run was' if n == 1 else 'runs were'} skipped: {reason}" for reason, n in reasons.items()]


def _sheets(analysis: Analysis, page: Path) -> tuple[Sheets, list[str]]:
    """Histogram sheets of one seed of each group, and notes. Groups in the figures by layer are embedded first."""
    ordered = [*analysis.inside.groups, *analysis.by_layer.groups, *analysis.grouping.groups]
    groups = list({id(group): group for group in ordered}.values())
    available = [(group, run) for group in groups if (run := _with_sheet(group))]
    embedded: list[Sheet] = []
    linked: list[Sheet] = []
    size = 0
    for group, run in available:
        href = link(run.directory / SHEET, page)
        content = _read_png(run.directory / SHEET, limit=MAX_SHEET_BYTES - size) if len(embedded) < MAX_SHEETS else b""
        size += len(content)
        if content:
            state = "" if run.state == "completed" else f", {run.state}"
            label = f"{group.label}, seed {run.config.get('seed')}{state}"
            embedded.append(Sheet(label, href, b64encode(content).decode()))
        else:
            linked.append(Sheet(group.label, href))
    notes = []
    if missing := len(groups) - len(available):
        notes.append(f"{missing} of {len(groups)} groups have no {SHEET}.")
    if linked:
        notes.append(f"{len(embedded)} of {len(available)} histogram sheets are in the page; the others are linked.")
    return Sheets(embedded, linked), notes


def _with_sheet(group: Group) -> Run | None:
    """The first run of a group that has a sheet, completed runs first."""
    ordered = sorted(group.runs, key=lambda run: run.state != "completed")
    return next((run for run in ordered if (run.directory / SHEET).is_file()), None)


def _read_png(path: Path, *, limit: int) -> bytes | bytearray:
    """Content of a PNG file; empty if it can't be read, is larger than `limit` bytes, or isn't a PNG."""
    try:
        content = safe_read.read(path, max_bytes=limit)
    except OSError:
        return b""
    return content if content.startswith(b"\x89PNG") else b""
