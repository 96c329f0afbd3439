"""The figures of a report: all of them, in the order of the page, and as files for a paper."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from normexp.plotting.style import Drawn, style
from normexp.plotting.svg import svg_file
from normexp.report.export import csv_text
from normexp.report.figures.study import Study, curve_tags, study
from normexp.report.read import Collection
from normexp.rundir import atomic


def draw(of: Study) -> dict[str, list[Drawn]]:
    """Every figure for which the runs have something to show, by the part of the page. In a `style` block."""
    from normexp.report.figures.convergence import curves
    from normexp.report.figures.layers import gradients_at_end, gradients_over_time, percentiles
    from normexp.report.figures.sweep import effect, heat_map, swept_numbers

    made = {
        "curves": [curves(of, tag) for tag in curve_tags(of.metric)],
        "sweep": [*(effect(of, key) for key in swept_numbers(of)), heat_map(of)],
        "gradients": [gradients_over_time(of), gradients_at_end(of)],
        "activations": [percentiles(of)],
    }
    return {part: [figure for figure in figures if figure is not None] for part, figures in made.items()}


def write(folder: Path, collection: Collection, *, metric: str, by: Sequence[str] | None) -> list[Path]:
    """Write every figure as PNG (300 dpi), as SVG, and what it shows as CSV, not thinned. Returns the files."""
    of = study(collection, metric=metric, by=by)
    written = []
    with style():
        for drawn in (figure for figures in draw(of).values() for figure in figures):
            for suffix, content in (
                ("png", _png(drawn)),
                ("svg", svg_file(drawn).encode()),
                ("csv", csv_text(drawn.header, drawn.rows).encode()),
            ):
                written.append(folder / f"{drawn.name}.{suffix}")
                atomic.write_bytes(written[-1], content)
    return written


def _png(drawn: Drawn) -> bytes:
    buffer = io.BytesIO()
    drawn.figure.savefig(buffer, format="png", dpi=300, metadata={"Title": drawn.title, "Software": None})
    return buffer.getvalue()
