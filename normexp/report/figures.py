"""The figures of a report: all of them, in the order of the page, and as files for a paper."""

from __future__ import annotations

from normexp.report.figures_study import Study, curve_tags
from normexp.report.figures_style import Drawn


def draw(of: Study) -> dict[str, list[Drawn]]:
    """Every figure for which the runs have something to show, by the part of the page. In a `style` block."""
    from normexp.report.figures_curves import curves
    from normexp.report.figures_layers import gradients_at_end, gradients_over_time, percentiles
    from normexp.report.figures_sweep import effect, heat_map, swept_numbers

    made = {
        "curves": [curves(of, tag) for tag in curve_tags(of.metric)],
        "sweep": [*(effect(of, key) for key in swept_numbers(of)), heat_map(of)],
        "gradients": [gradients_over_time(of), gradients_at_end(of)],
        "activations": [percentiles(of)],
    }
    return {part: [figure for figure in figures if figure is not None] for part, figures in made.items()}
