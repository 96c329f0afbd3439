"""What the runs of a claim measured: a panel a series, a line an arm, a dot a seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from normexp.claims.page_curves import Curves, Point, curves
from normexp.claims.wording import Json
from normexp.plotting.colours import INK, Look
from normexp.plotting.style import BOTTOM, GAP, LEFT, RIGHT, TITLE, WIDE, Canvas, clean, log_axis, short, sign
from normexp.report.figures.panels import spread
from normexp.report.groups import word

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

MOST_PANELS, MOST_DOTS = 12, 150
"""Of a figure, and of an arm in a panel: where there are more, a band takes their place."""


@dataclass
class Grid:
    """The panels of a figure with their place in inches. named: whether a legend is needed to tell arms apart."""

    panels: list[Curves]
    columns: int
    shared: bool
    height: float
    notes: list[str]
    signs: list[Artist] = field(default_factory=list)

    @property
    def named(self) -> bool:
        return any(panel.across for panel in self.panels)

    @property
    def lost(self) -> bool:
        return any(v is None for panel in self.panels for of in panel.arms.values() for _, each in of for v in each)

    @property
    def line(self) -> bool:
        return any(panel.line is not None for panel in self.panels)

    @property
    def bands(self) -> bool:
        return any(_crowded(points) for panel in self.panels for points in panel.arms.values())

    @property
    def dots(self) -> bool:
        return any(not _crowded(points) for panel in self.panels for points in panel.arms.values())


def series_grid(verdict: Json) -> Grid | None:
    """The panels of a verdict, and how they are laid out; None without any."""
    given = [each for each in verdict.get("series") or () if each.get("arms")]
    shown = spread(given, MOST_PANELS)
    notes = [f"Of {len(given)} panels, {len(shown)} are shown."] if len(shown) < len(given) else []
    if not shown:
        return None
    panels = [curves(each, [other for other in given if other.get("x") == each.get("x")]) for each in shown]
    shared = len({(panel.across, panel.upwards, panel.log, tuple(panel.places or ())) for panel in panels}) == 1
    columns = 2 if len(panels) in (2, 4) else min(len(panels), 3)
    rows = -(-len(panels) // columns)
    made = Grid(panels, columns, shared, 0.0, notes)
    made.height = rows * (_above(made) + _tall(made)) + (1 if shared else rows) * _below(made)
    made.signs = [sign("x", "no value")] if made.lost else []
    return made


def add_series(drawn: Canvas, grid: Grid, looks: Mapping[str, Look], *, top: float) -> None:
    """Draw the panels. top: inches from the lower edge of the figure."""
    gap = GAP if grid.shared else LEFT
    wide = (WIDE - LEFT - RIGHT - gap * (grid.columns - 1)) / grid.columns
    tall, above, below = _tall(grid), _above(grid), _below(grid)
    total = drawn.figure.get_figheight()
    made: list[Axes] = []
    for i, panel in enumerate(grid.panels):
        row, column = divmod(i, grid.columns)
        lower = top - (row + 1) * (above + tall) - (0 if grid.shared else row * below)
        box = ((LEFT + column * (wide + gap)) / WIDE, lower / total, wide / WIDE, tall / total)
        same = made[0] if grid.shared and made else None
        axes = drawn.figure.add_axes(box, sharex=same, sharey=same)
        made.append(axes)
        axes.set_title(short(clean(panel.title), int(wide / 0.05)), loc="left", pad=3, y=1.0, fontsize=7.5)
        _panel(drawn, axes, panel, looks)
        lowest = not grid.shared or i + grid.columns >= len(grid.panels)
        axes.tick_params(labelbottom=lowest, labelleft=not grid.shared or column == 0)
        if lowest:
            axes.set_xlabel(short(clean(panel.across), int(wide / 0.06)))
        if not grid.shared or column == 0:
            axes.set_ylabel(short(clean(panel.upwards), int(tall / 0.056)))
    for axes, panel in zip(made, grid.panels, strict=True):
        _scales(axes, panel, wide=wide, panels=grid.panels if grid.shared else [panel])


def _tall(grid: Grid) -> float:
    return 1.9 if grid.columns == 1 else 1.45


def _above(grid: Grid) -> float:
    return TITLE if any(panel.title for panel in grid.panels) else 0.1


def _below(grid: Grid) -> float:
    """Room for the names of places, which are slanted where they are long."""
    return BOTTOM + max(0.045 * _longest(panel) if _slanted(panel, grid.columns) else 0.0 for panel in grid.panels)


def _longest(panel: Curves) -> int:
    return min(max(map(len, panel.places or [""])), 22)


def _slanted(panel: Curves, columns: int) -> bool:
    return bool(panel.places) and len(panel.places or ()) * (_longest(panel) + 1) * 0.055 > 5.8 / columns


def _panel(drawn: Canvas, axes: Axes, panel: Curves, looks: Mapping[str, Look]) -> None:
    lost = 0
    for i, (arm, points) in enumerate(panel.arms.items()):
        look = looks[arm]
        # names have no order, so that arms stand beside each other, and no line leads from one to the next
        aside = 0.0 if panel.linked or not panel.across else 0.6 * ((i + 0.5) / len(panel.arms) - 0.5)
        known = [(x + aside, [v for v in of if v is not None]) for x, of in points]
        means = [(x, sum(of) / len(of), of) for x, of in known if of]
        if _crowded(points):
            low, high = [min(of) for *_, of in means], [max(of) for *_, of in means]
            band = axes.fill_between([x for x, *_ in means], low, high, color=look.colour, alpha=0.18, linewidth=0)
            drawn.mark(band, None)
        else:
            _dots(axes, known, look, apart=not panel.across)
        named = f"{look.name}, {panel.across}=" if panel.across else look.name
        tips = [
            f"{named}{panel.words.get(x - aside, '')}: {mean:.4g} ({min(of):.4g} to {max(of):.4g}, n={len(of)})"
            for x, mean, of in means
        ]
        if not panel.across:
            for (x, mean, _), tip in zip(means, tips, strict=True):
                drawn.mark(axes.hlines(mean, x - 0.25, x + 0.25, color=look.colour, linewidth=1.6), None, [tip])
        elif means:
            (path,) = axes.plot(
                [x for x, _, _ in means], [mean for _, mean, _ in means], color=look.colour, markersize=3.6,
                linestyle=look.dashes if panel.linked else "none", marker="" if len(means) > 25 else look.marker,
            )  # fmt: skip
            drawn.mark(path, None, [*tips, ""])
        gone = [x + aside for x, of in points if None in of]
        if gone:
            axes.plot(
                gone, [0.04 + 0.075 * lost] * len(gone), transform=axes.get_xaxis_transform(), color=look.colour, marker="x",
                markersize=4.5, markeredgewidth=1.3, linestyle="none",
            )  # fmt: skip
            lost += 1
    if panel.line is not None:
        axes.axhline(panel.line, color=INK, linewidth=0.9, linestyle=(0, (4, 2)))


def _dots(axes: Axes, known: Sequence[tuple[float, list[float]]], look: Look, *, apart: bool) -> None:
    """A dot a seed. apart: beside each other, where each arm has a place for itself."""
    each = [
        (x + (0.3 * ((i + 0.5) / len(of) - 0.5) if apart else 0.0), value)
        for x, of in known
        for i, value in enumerate(of)
    ]
    axes.plot(
        [x for x, _ in each], [value for _, value in each], color=look.colour, marker="o", markeredgewidth=0, alpha=0.55,
        markersize=4.0 if apart else 2.6, linestyle="none",
    )  # fmt: skip


def _crowded(points: Sequence[Point]) -> bool:
    return len(points) > 2 and sum(len(of) for _, of in points) > MOST_DOTS


def _scales(axes: Axes, panel: Curves, *, wide: float, panels: Sequence[Curves]) -> None:
    """Logarithmic axes where they are asked for or needed, and the names of places. wide: of the panel, in inches."""
    upwards = [v for each in panels for points in each.arms.values() for _, of in points for v in of if v is not None]
    if upwards and 0 < 30 * min(upwards) < max(upwards) and "%" not in panel.upwards:
        axes.set_yscale("log")
        log_axis(axes.yaxis)
    if panel.log:
        axes.set_xscale("log")
    xs = sorted({x for each in panels for points in each.arms.values() for x, _ in points})
    if panel.places is not None:
        names = [short(clean(place), 22) for place in panel.places]
        slanted = _slanted(panel, round(WIDE / (wide + GAP)))
        axes.set_xticks(range(len(names)), names, rotation=35 if slanted else 0, ha="right" if slanted else "center")
        axes.set_xlim(-0.5, len(names) - 0.5)
    elif len(xs) <= 10:
        ticks = _ticks(xs, wide=wide, log=panel.log)
        axes.set_xticks(ticks, [word(tick) for tick in ticks])
        axes.minorticks_off()
    elif panel.log:
        log_axis(axes.xaxis)


def _ticks(xs: Sequence[float], *, wide: float, log: bool) -> list[float]:
    """As many of the values, from the first one on, as have room for what they are called."""
    at = [math.log(x) if log else x for x in xs]
    inches = [0.9 * wide * (place - at[0]) / ((at[-1] - at[0]) or 1.0) for place in at]
    kept = [0]
    for i in range(1, len(xs)):
        letters = (len(word(xs[i])) + len(word(xs[kept[-1]]))) / 2
        if inches[i] - inches[kept[-1]] > 0.06 * letters + 0.06:
            kept.append(i)
    return [xs[i] for i in kept]
