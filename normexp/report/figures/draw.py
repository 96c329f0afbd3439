"""All figures of a report, in the order of the page; also as files for a paper."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from normexp.plotting.labels import file_stem
from normexp.plotting.style import DrawnFigure, encode_figure, figure_style
from normexp.report.analysis import Analysis, analyze_tasks, curve_tags
from normexp.report.export import csv_text
from normexp.report.names import PLAIN, Names
from normexp.report.read import Collection
from normexp.rundir import atomic


def draw_all(analysis: Analysis) -> dict[str, list[DrawnFigure]]:
    """Draw every figure for which the runs have data, by section of the page. Needs a `figure_style` context. With several
    tasks, names of figures start with the task."""
    from normexp.report.figures.convergence import curves
    from normexp.report.figures.layers import gradients_at_end, gradients_over_time, percentiles
    from normexp.report.figures.sweep import effect, heat_map, swept_numbers

    sections = {
        "curves": [curves(analysis, tag) for tag in curve_tags(analysis.metric)],
        "sweep": [*(effect(analysis, key) for key in swept_numbers(analysis)), heat_map(analysis)],
        "gradients": [gradients_over_time(analysis), gradients_at_end(analysis)],
        "activations": [percentiles(analysis)],
    }
    task = f"{file_stem(analysis.task.label)}-" if analysis.task.label else ""
    return {
        section: [replace(figure, name=f"{task}{figure.name}") for figure in figures if figure is not None]
        for section, figures in sections.items()
    }


def write_figures(
    folder: Path, collection: Collection, *, metric: str, by: Sequence[str] | None, display: Names = PLAIN
) -> list[Path]:
    """Write every figure as PDF, SVG and PNG (300 dpi), and its data as CSV, not thinned. Returns the files."""
    analyses = analyze_tasks(collection, metric=metric, by=by, display=display)
    written = []
    with figure_style():
        for drawn in (figure for one in analyses for figures in draw_all(one).values() for figure in figures):
            files = {suffix: encode_figure(drawn.figure, suffix, drawn.title) for suffix in ("png", "svg", "pdf")}
            files["csv"] = csv_text(drawn.header, drawn.rows).encode()
            for suffix, content in files.items():
                written.append(folder / f"{drawn.name}.{suffix}")
                atomic.write_bytes(written[-1], content)
    return written
