"""The figure of an experiment's verdict: its runs, arm by arm, and below them the effects against the rule."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from normexp.claims.page_forest import Forest, add_forest, forest
from normexp.claims.page_series import Grid, add_series, series_grid
from normexp.claims.sound import sound
from normexp.claims.wording import Json, finite, text, verdict_of
from normexp.plotting.colours import NORMS, OTHERS, Look, lighter, scale
from normexp.plotting.style import WIDE, Canvas, Drawn, add_legend, handle, legend_lines, stem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NORM = re.compile(rf"({'|'.join(NORMS)})(?![A-Za-z])")
"""An arm's norm, if it begins with one: that of 'bn', 'bn-noisy' and 'none + noise', none of 'input'."""


def figure(verdict: Json) -> Figure | None:
    """The runs and the effects of an experiment; None for an exact claim and where there is nothing to show. In a `style`
    block."""
    drawn = draw(verdict, name="figure")
    return None if drawn is None else drawn.figure


def draw(verdict: Json, *, name: str) -> Drawn | None:
    """The same with its caption, its tips and the numbers behind it. name: of its files, and its id in a page."""
    from matplotlib.figure import Figure

    verdict = sound(verdict)
    if verdict.get("kind") == "exact":
        return None
    looks = arm_looks(verdict)
    grid, below = series_grid(verdict), forest(verdict)
    if grid is None and below is None:
        return None
    handles = [handle(look) for look in looks.values()] if grid and grid.named else []
    handles += grid.signs if grid else []
    lines = legend_lines(handles, room=WIDE - 0.5)
    top = 0.06 + 0.17 * lines
    height = top + (grid.height if grid else 0.0) + (below.height if below else 0.0)
    made = Canvas(Figure(figsize=(WIDE, height)), {})
    add_legend(made.figure, handles, lines=lines, left=0.58)
    if grid:
        add_series(made, grid, looks, top=height - top)
    if below:
        add_forest(made, below, top=below.height)
    return Drawn(
        name=stem(name),
        title=f"{text(verdict.get('claim'))}: {'the runs and ' if grid else ''}{'the effects' if below else ''}".removesuffix(
            " and "
        ),
        caption=_caption(grid, below),
        figure=made.figure,
        header=["panel", "arm", "x", "y"],
        rows=(
            [each.get("title"), arm, x, value]
            for each in verdict.get("series") or ()
            for arm, points in (each.get("arms") or {}).items()
            for x, values in points
            for value in values
        ),
        tips=made.tips,
        notes=grid.notes if grid else [],
    )


def arm_looks(verdict: Json) -> dict[str, Look]:
    """How each arm is drawn: in the colour of the norm that its name begins with, a shade of it where several do; else in a
    colour that no norm of this claim has, or along a scale where all arms are numbers."""
    names = list(dict.fromkeys(str(arm) for each in verdict.get("series") or () for arm in each.get("arms") or {}))
    norms = {name: found[1] for name in names if (found := NORM.match(name))}
    markers, dashes = [look[2] for look in NORMS.values()], [look[1] for look in NORMS.values()]
    free = [colour for colour in OTHERS if colour not in {NORMS[norm][0] for norm in norms.values()}]
    numeric = len(names) > 1 and all(_is_numeral(name) for name in names)
    made: dict[str, Look] = {}
    others = 0
    for i, name in enumerate(names):
        norm = norms.get(name)
        if norm:
            own, dash, marker = NORMS[norm]
            before = [norms.get(other) for other in names[:i]].count(norm)
            if before:
                place = list(NORMS).index(norm) + before
                dash, marker = dashes[place % 5], markers[place % 5]
            made[name] = Look(text(name), lighter(own, min(0.35 * before, 0.6)), dash, marker)
        else:
            colour = scale(i, len(names)) if numeric else free[others % len(free)]
            made[name] = Look(text(name), colour, "solid" if numeric else dashes[(others + 1) % 5], markers[i % 5])
            others += 1
    return made


def _is_numeral(name: str) -> bool:
    try:
        return finite(float(name)) is not None
    except ValueError:
        return False


def _caption(grid: Grid | None, below: Forest | None) -> str:
    told = []
    if grid:
        told += ["Above: means over seeds; a dot is a seed."] if grid.dots else []
        told += ["Bands reach from the smallest to the largest seed."] if grid.bands else []
        told += ["A cross at the lower edge: a seed without a value; it diverged, say."] if grid.lost else []
    if below:
        found = {verdict_of(cell) for condition in below.conditions for cell in condition["cells"]}
        told.append(
            f"{'Below' if grid else 'Here'}: effects with their intervals; shaded: the rule's side of its line."
        )
        told += ["An open circle: undecided."] if found & {"inconclusive", "not comparable"} else []
        told += ["A triangle: the interval goes on."] if below.cut else []
    return " ".join(told)
