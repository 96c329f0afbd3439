"""The figure of an experiment: the runs of each arm, and below them the effects against the rule."""

from __future__ import annotations

import math
import re

from normexp.claims.forest_plot import Forest, add_forest, forest
from normexp.claims.series_plot import Grid, add_series, series_grid
from normexp.claims.verdict import Verdict
from normexp.plotting.colours import NORM_STYLES, OTHER_COLOURS, LineStyle, lighten, sequential_colour
from normexp.plotting.labels import file_stem
from normexp.plotting.style import WIDE, Canvas, DrawnFigure, add_legend, legend_lines, line_handle, marker_handle

NORM = re.compile(rf"({'|'.join(NORM_STYLES)})(?![A-Za-z])")
"""The norm that an arm's name starts with: that of 'bn', 'bn-noisy' and 'none + noise', but not of 'input'."""


def draw(verdict: Verdict, *, name: str) -> DrawnFigure | None:
    """Draw the figure. Returns None for exact claims and if there is nothing to show. Needs a `figure_style` context.

    name: of its files, and its id in a page.
    """
    from matplotlib.figure import Figure

    if verdict.kind == "exact":
        return None
    styles = arm_styles(verdict)
    grid, below = series_grid(verdict), forest(verdict)
    if grid is None and below is None:
        return None
    handles = [line_handle(style) for style in styles.values()] if grid and grid.needs_legend else []
    handles += [marker_handle("x", "no value")] if grid and grid.has_missing else []
    lines = legend_lines(handles, room=WIDE - 0.5)
    top = 0.06 + 0.17 * lines
    height = top + (grid.height if grid else 0.0) + (below.height if below else 0.0)
    canvas = Canvas(Figure(figsize=(WIDE, height)), {})
    add_legend(canvas.figure, handles, lines=lines, left=0.58)
    if grid:
        add_series(canvas, grid, styles, top=height - top)
    cut = add_forest(canvas, below, top=below.height) if below else False
    parts = ["the runs"] * (grid is not None) + ["the effects"] * (below is not None)
    return DrawnFigure(
        name=file_stem(name),
        title=f"{verdict.claim}: {' and '.join(parts)}",
        caption=_caption(grid, below, cut=cut),
        figure=canvas.figure,
        header=["panel", "arm", "x", "y"],
        rows=(
            [series.title, arm, x, value]
            for series in verdict.series
            for arm, points in series.arms.items()
            for x, values in points
            for value in values
        ),
        tips=canvas.tips,
        notes=grid.notes if grid else [],
    )


def arm_styles(verdict: Verdict) -> dict[str, LineStyle]:
    """Colour, dashes and marker of each arm.

    Arms whose name starts with a norm have the norm's colour, or lighter shades of it if there are several. Others have colours
    that no norm of the claim has, or a sequential scale if all arms are numbers.
    """
    names = list(dict.fromkeys(arm for series in verdict.series for arm in series.arms))
    norms = {name: match[1] for name in names if (match := NORM.match(name))}
    colours, dashes, markers = zip(*NORM_STYLES.values(), strict=True)
    free = [colour for colour in OTHER_COLOURS if colour not in {NORM_STYLES[norm][0] for norm in norms.values()}]
    sequential = len(names) > 1 and all(map(_is_numeral, names))
    styles: dict[str, LineStyle] = {}
    others = 0
    for i, name in enumerate(names):
        if name in norms:
            norm = list(NORM_STYLES).index(norms[name])
            earlier = [norms.get(other) for other in names[:i]].count(norms[name])
            colour = lighten(colours[norm], min(0.35 * earlier, 0.6))
            look = (norm + earlier) % len(NORM_STYLES)
            styles[name] = LineStyle(name, colour, dashes[look], markers[look])
        else:
            colour = sequential_colour(i, len(names)) if sequential else free[others % len(free)]
            styles[name] = LineStyle(name, colour, "solid" if sequential else dashes[(others + 1) % 5], markers[i % 5])
            others += 1
    return styles


def _is_numeral(name: str) -> bool:
    try:
        return math.isfinite(float(name))
    except ValueError:
        return False


def _caption(grid: Grid | None, below: Forest | None, *, cut: bool) -> str:
    sentences = grid.caption if grid else []
    if below:
        outcomes = {cell.outcome for condition in below.conditions for cell in condition.cells}
        where = "Below" if grid else "Here"
        sentences.append(f"{where}: effects with their intervals; shaded: the rule's side of its line.")
        sentences += ["An open circle: undecided."] if outcomes & {"inconclusive", "not comparable"} else []
        sentences += ["A triangle: the interval goes on."] if cut else []
    return " ".join(sentences)
