"""The figure of an experiment: the runs of each arm, and below them the effects against the rule."""

import re

from normexp.claims.forest_plot import draw_forest, forest_height
from normexp.claims.series_plot import build_panels, draw_panels
from normexp.claims.verdict import Verdict
from normexp.plotting.colors import NORM_STYLES, LineStyle, line_styles
from normexp.plotting.labels import file_stem
from normexp.plotting.style import DrawnFigure

NORM = re.compile(rf"({'|'.join(NORM_STYLES)})(?![A-Za-z])")
"""Matches arms whose name starts with a norm: 'bn', 'bn-noisy' and 'none + noise', but not 'input'."""


def draw(verdict: Verdict, *, name: str) -> DrawnFigure | None:
    """Draw the figure. Returns None for exact claims and if there is nothing to show. Needs a `figure_style` context.

    name: of its files, and its id in a page.
    """
    panels, conditions = build_panels(verdict), [condition for condition in verdict.conditions if condition.cells]
    if verdict.kind == "exact" or not (panels or conditions):
        return None
    canvas, caption = draw_panels(panels, arm_styles(verdict), below=forest_height(conditions))
    if conditions:
        cut = draw_forest(canvas, conditions)
        outcomes = {cell.outcome for condition in conditions for cell in condition.cells}
        bounded = any(cell.bound for condition in conditions for cell in condition.cells)
        where = "Bottom" if panels else "Plot"
        sides = "beyond the solid line, the shaded side confirms; beyond the dotted one, the hatched side refutes"
        caption.append(f"{where}: effects with intervals; {sides}.")
        caption += ["Open circle: undecided or not comparable."] * bool(outcomes & {"undecided", "not comparable"})
        caption += ["Cross: refuted."] * ("refuted" in outcomes)
        caption += ["Diamond: smaller than claimed."] * ("smaller than claimed" in outcomes)
        caption += ["Arrow: only a bound, or the interval extends beyond the axis."] * (cut or bounded)
    title = " and ".join(["the runs"] * bool(panels) + ["the effects"] * bool(conditions))
    return DrawnFigure(file_stem(name), f"{verdict.claim}: {title}", " ".join(caption), canvas.figure, canvas.tips)


def arm_styles(verdict: Verdict) -> dict[str, LineStyle]:
    """Style of each arm: a norm's, if its name starts with one, and a color scale if all names are numbers."""
    names = list(dict.fromkeys(arm for series in verdict.series for arm in series.arms))
    norms = [match[1] if (match := NORM.match(name)) else None for name in names]
    sequential = len(names) > 1 and all(re.fullmatch(r"[-+]?\d*\.?\d+(e[-+]?\d+)?", name) for name in names)
    return dict(zip(names, line_styles(names, norms, sequential=sequential), strict=True))
