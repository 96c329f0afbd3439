"""The figure of an experiment: the runs of each arm, and below them the effects against the rule."""

import re

from normexp.claims.forest_plot import draw_forest, forest_height
from normexp.claims.series_plot import build_panels, draw_panels
from normexp.claims.verdict import Verdict
from normexp.plotting.colors import NORM_STYLES, OTHER_COLOURS, LineStyle, lighten, sequential_color
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
        where = "Bottom" if panels else "Plot"
        caption.append(f"{where}: effects with confidence intervals; the shaded side satisfies the rule.")
        caption += ["Open circle: undecided."] * bool(outcomes & {"inconclusive", "not comparable"})
        caption += ["Triangle: the interval extends beyond the axis."] * cut
    title = " and ".join(["the runs"] * bool(panels) + ["the effects"] * bool(conditions))
    return DrawnFigure(file_stem(name), f"{verdict.claim}: {title}", " ".join(caption), canvas.figure, canvas.tips)


def arm_styles(verdict: Verdict) -> dict[str, LineStyle]:
    """Color, dashes and marker of each arm.

    Arms whose name starts with a norm have the norm's color, or lighter shades of it if there are several. Others have colors
    that no norm of the claim has, or a sequential scale if all arms are numbers.
    """
    names = list(dict.fromkeys(arm for series in verdict.series for arm in series.arms))
    norms = {name: match[1] for name in names if (match := NORM.match(name))}
    colors, dashes, markers = zip(*NORM_STYLES.values(), strict=True)
    free = [color for color in OTHER_COLOURS if color not in {NORM_STYLES[norm][0] for norm in norms.values()}]
    sequential = len(names) > 1 and all(re.fullmatch(r"[-+]?\d*\.?\d+(e[-+]?\d+)?", name) for name in names)
    styles: dict[str, LineStyle] = {}
    for i, name in enumerate(names):
        earlier = [norms.get(other) for other in names[:i]].count(norms.get(name))  # arms of the same norm, or of none
        if name in norms:
            norm = list(NORM_STYLES).index(norms[name])
            look, color = (norm + earlier) % len(NORM_STYLES), lighten(colors[norm], min(0.35 * earlier, 0.6))
            styles[name] = LineStyle(name, color, dashes[look], markers[look])
        elif sequential:
            styles[name] = LineStyle(name, sequential_color(i, len(names)), "solid", markers[i % 5])
        else:
            styles[name] = LineStyle(name, free[earlier % len(free)], dashes[(earlier + 1) % 5], markers[i % 5])
    return styles
