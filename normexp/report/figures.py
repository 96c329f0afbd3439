"""The figures of a report: all of them, in the order of the page, and as files for a paper."""

from __future__ import annotations

from normexp.report.figures_study import Study, curve_tags
from normexp.report.figures_style import Drawn


def draw(of: Study) -> list[Drawn]:
    """Every figure for which the runs have something to show. In a `style` block."""
    from normexp.report.figures_curves import curves

    made = [curves(of, tag) for tag in curve_tags(of.metric)]
    return [figure for figure in made if figure is not None]
