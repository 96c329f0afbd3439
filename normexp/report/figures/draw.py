"""All figures of a report, in the order of the page; also as files for a paper."""

import io
from collections.abc import Sequence
from pathlib import Path

from normexp.plotting.style import DrawnFigure, figure_style
from normexp.plotting.svg import svg_file
from normexp.report.analysis import Analysis, analyze, curve_tags
from normexp.report.export import csv_text
from normexp.report.read import Collection
from normexp.rundir import atomic


def draw_all(analysis: Analysis) -> dict[str, list[DrawnFigure]]:
    """Draw every figure for which the runs have data, by section of the page. Needs a `figure_style` context."""
    from normexp.report.figures.convergence import curves
    from normexp.report.figures.layers import gradients_at_end, gradients_over_time, percentiles
    from normexp.report.figures.sweep import effect, heat_map, swept_numbers

    sections = {
        "curves": [curves(analysis, tag) for tag in curve_tags(analysis.metric)],
        "sweep": [*(effect(analysis, key) for key in swept_numbers(analysis)), heat_map(analysis)],
        "gradients": [gradients_over_time(analysis), gradients_at_end(analysis)],
        "activations": [percentiles(analysis)],
    }
    return {name: [figure for figure in figures if figure is not None] for name, figures in sections.items()}


def write_figures(folder: Path, collection: Collection, *, metric: str, by: Sequence[str] | None) -> list[Path]:
    """Write every figure as PNG (300 dpi) and SVG, and its data as CSV, not thinned. Returns the files."""
    analysis = analyze(collection, metric=metric, by=by)
    written = []
    with figure_style():
        for drawn in (figure for figures in draw_all(analysis).values() for figure in figures):
            png = io.BytesIO()
            drawn.figure.savefig(png, format="png", dpi=300, metadata={"Title": drawn.title, "Software": None})
            files = {"png": png.getvalue(), "svg": svg_file(drawn).encode()}
            files["csv"] = csv_text(drawn.header, drawn.rows).encode()
            for suffix, content in files.items():
                written.append(folder / f"{drawn.name}.{suffix}")
                atomic.write_bytes(written[-1], content)
    return written
