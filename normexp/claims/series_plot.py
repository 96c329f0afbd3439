"""Plots of what the runs of a claim measured: one panel per series, one line per arm, one dot per seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from normexp.claims.series_panels import Point, SeriesPanel, build_panel
from normexp.claims.verdict import Verdict
from normexp.plotting.colours import INK, LineStyle
from normexp.plotting.labels import evenly_spaced, safe_label, truncate
from normexp.plotting.style import BOTTOM, GAP, LEFT, RIGHT, TITLE, WIDE, Canvas, log_axis
from normexp.report.groups import format_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_PANELS = 12
"""More panels don't fit a page."""

MAX_DOTS = 150
"""Arms with more values in a panel get a band from the smallest to the largest seed instead."""

MAX_TICK_LABEL = 22
"""Longer names of categories are truncated."""


@dataclass(frozen=True)
class Grid:
    """Panels of a figure and their layout, in inches. notes: sentences on panels that are left out."""

    panels: list[SeriesPanel]
    notes: list[str]

    @property
    def shared(self) -> bool:
        """Whether all panels have the same axes."""
        return len({(p.x_label, p.y_label, p.log_x, tuple(p.ticks or ())) for p in self.panels}) == 1

    @property
    def columns(self) -> int:
        return 2 if len(self.panels) in (2, 4) else min(len(self.panels), 3)

    @property
    def panel_width(self) -> float:
        return (WIDE - LEFT - RIGHT - self.gap * (self.columns - 1)) / self.columns

    @property
    def panel_height(self) -> float:
        return 1.9 if self.columns == 1 else 1.45

    @property
    def gap(self) -> float:
        """Between columns; with axes of their own, panels need room for tick labels."""
        return GAP if self.shared else LEFT

    @property
    def above(self) -> float:
        """Room for a panel's title."""
        return TITLE if any(panel.title for panel in self.panels) else 0.1

    @property
    def below(self) -> float:
        """Room for tick labels, which are slanted if they are long."""
        slanted = [_label_length(panel) for panel in self.panels if _slanted(panel, self.columns)]
        return BOTTOM + 0.045 * max(slanted, default=0)

    @property
    def height(self) -> float:
        rows = math.ceil(len(self.panels) / self.columns)
        return rows * (self.above + self.panel_height) + (1 if self.shared else rows) * self.below

    @property
    def needs_legend(self) -> bool:
        """Whether arms are told apart by style: on an x axis of arms, the ticks name them."""
        return any(panel.x_label for panel in self.panels)

    @property
    def has_missing(self) -> bool:
        """Whether a seed has no value."""
        return any(None in values for points in self._lines for _, values in points)

    @property
    def caption(self) -> list[str]:
        """Sentences on what is drawn."""
        crowded = set(map(_crowded, self._lines))
        return [
            *["Above: means over seeds; a dot is a seed."] * (False in crowded),
            *["Bands reach from the smallest to the largest seed."] * (True in crowded),
            *["A cross at the lower edge: a seed without a value; it diverged, say."] * self.has_missing,
        ]

    @property
    def _lines(self) -> list[list[Point]]:
        return [points for panel in self.panels for points in panel.arms.values()]


def series_grid(verdict: Verdict) -> Grid | None:
    """Lay out the series of a verdict. Returns None if there are none."""
    available = [series for series in verdict.series if series.arms]
    shown = evenly_spaced(available, MAX_PANELS)
    notes = [f"Of {len(available)} panels, {len(shown)} are shown."] if len(shown) < len(available) else []
    panels = [build_panel(series, [other for other in available if other.x == series.x]) for series in shown]
    return Grid(panels, notes) if panels else None


def add_series(canvas: Canvas, grid: Grid, styles: Mapping[str, LineStyle], *, top: float) -> None:
    """Draw the panels. top: upper edge of the grid, in inches from the lower edge of the figure."""
    width, height, above, shared = grid.panel_width, grid.panel_height, grid.above, grid.shared
    total = canvas.figure.get_figheight()
    all_axes: list[Axes] = []
    for i, panel in enumerate(grid.panels):
        row, column = divmod(i, grid.columns)
        lower = top - (row + 1) * (above + height) - (0 if shared else row * grid.below)
        box = ((LEFT + column * (width + grid.gap)) / WIDE, lower / total, width / WIDE, height / total)
        first = all_axes[0] if shared and all_axes else None
        axes = canvas.figure.add_axes(box, sharex=first, sharey=first)
        all_axes.append(axes)
        axes.set_title(truncate(safe_label(panel.title), int(width / 0.05)), loc="left", pad=3, y=1.0, fontsize=7.5)
        _draw_panel(canvas, axes, panel, styles)
        lowest, leftmost = not shared or i + grid.columns >= len(grid.panels), not shared or column == 0
        axes.tick_params(labelbottom=lowest, labelleft=leftmost)
        if lowest:
            axes.set_xlabel(truncate(safe_label(panel.x_label), int(width / 0.06)))
        if leftmost:
            axes.set_ylabel(truncate(safe_label(panel.y_label), int(height / 0.056)))
    for axes, panel in zip(all_axes, grid.panels, strict=True):
        _set_scales(axes, panel, width=width, panels=grid.panels if shared else [panel])


def _label_length(panel: SeriesPanel) -> int:
    return min(max(map(len, panel.ticks or [""])), MAX_TICK_LABEL)


def _slanted(panel: SeriesPanel, columns: int) -> bool:
    return len(panel.ticks or ()) * (_label_length(panel) + 1) * 0.055 > 5.8 / columns


def _draw_panel(canvas: Canvas, axes: Axes, panel: SeriesPanel, styles: Mapping[str, LineStyle]) -> None:
    rows_of_crosses = 0
    for i, (arm, points) in enumerate(panel.arms.items()):
        style = styles[arm]
        # categories have no order: arms are drawn next to each other, without connecting lines
        shift = 0.0 if panel.connected or not panel.x_label else 0.6 * ((i + 0.5) / len(panel.arms) - 0.5)
        known = [(x + shift, values) for x, by_seed in points if (values := [v for v in by_seed if v is not None])]
        xs, means = [x for x, _ in known], [sum(values) / len(values) for _, values in known]
        if _crowded(points):
            low, high = [min(values) for _, values in known], [max(values) for _, values in known]
            band = axes.fill_between(xs, low, high, color=style.colour, alpha=0.18, linewidth=0)
            canvas.mark(band, None)
        else:
            _draw_dots(axes, known, style, spread=not panel.x_label)
        name = f"{style.name}, {panel.x_label}=" if panel.x_label else style.name
        tips = [
            f"{name}{panel.x_names.get(x - shift, '')}: {mean:.4g} ({min(values):.4g} to {max(values):.4g}, n={len(values)})"
            for (x, values), mean in zip(known, means, strict=True)
        ]
        if not panel.x_label:
            for x, mean, tip in zip(xs, means, tips, strict=True):
                canvas.mark(axes.hlines(mean, x - 0.25, x + 0.25, color=style.colour, linewidth=1.6), None, [tip])
        elif means:
            (path,) = axes.plot(
                xs, means, color=style.colour, markersize=3.6, linestyle=style.dashes if panel.connected else "none",
                marker="" if len(means) > 25 else style.marker,
            )  # fmt: skip
            canvas.mark(path, None, [*tips, ""])
        if missing := [x + shift for x, by_seed in points if None in by_seed]:
            axes.plot(
                missing, [0.04 + 0.075 * rows_of_crosses] * len(missing), transform=axes.get_xaxis_transform(),
                color=style.colour, marker="x", markersize=4.5, markeredgewidth=1.3, linestyle="none",
            )  # fmt: skip
            rows_of_crosses += 1
    if panel.line is not None:
        axes.axhline(panel.line, color=INK, linewidth=0.9, linestyle=(0, (4, 2)))


def _draw_dots(axes: Axes, known: Sequence[tuple[float, list[float]]], style: LineStyle, *, spread: bool) -> None:
    """Draw one dot per seed. spread: side by side, not above each other."""
    dots = [
        (x + (0.3 * ((i + 0.5) / len(values) - 0.5) if spread else 0.0), value)
        for x, values in known
        for i, value in enumerate(values)
    ]
    axes.plot(
        [x for x, _ in dots], [value for _, value in dots], color=style.colour, marker="o", markeredgewidth=0, alpha=0.55,
        markersize=4.0 if spread else 2.6, linestyle="none",
    )  # fmt: skip


def _crowded(points: Sequence[Point]) -> bool:
    return len(points) > 2 and sum(len(values) for _, values in points) > MAX_DOTS


def _set_scales(axes: Axes, panel: SeriesPanel, *, width: float, panels: Sequence[SeriesPanel]) -> None:
    """Choose scales and ticks. width: of the panel, in inches. panels: all that share the axes."""
    points = [point for each in panels for of_arm in each.arms.values() for point in of_arm]
    ys = [value for _, values in points for value in values if value is not None]
    if ys and 0 < 30 * min(ys) < max(ys) and "%" not in panel.y_label:
        axes.set_yscale("log")
        log_axis(axes.yaxis)
    if panel.log_x:
        axes.set_xscale("log")
    xs = sorted({x for x, _ in points})
    if panel.ticks is not None:
        labels = [truncate(safe_label(tick), MAX_TICK_LABEL) for tick in panel.ticks]
        slanted = _slanted(panel, round(WIDE / (width + GAP)))
        axes.set_xticks(range(len(labels)), labels, rotation=35 if slanted else 0, ha="right" if slanted else "center")
        axes.set_xlim(-0.5, len(labels) - 0.5)
    elif len(xs) <= 10:
        ticks = _spaced_ticks(xs, width=width, log=panel.log_x)
        axes.set_xticks(ticks, [format_value(tick) for tick in ticks])
        axes.minorticks_off()
    elif panel.log_x:
        log_axis(axes.xaxis)


def _spaced_ticks(xs: Sequence[float], *, width: float, log: bool) -> list[float]:
    """Values, starting with the first, whose labels don't overlap on an axis `width` inches wide."""
    at = [math.log(x) if log else x for x in xs]
    inches = [0.9 * width * (position - at[0]) / ((at[-1] - at[0]) or 1.0) for position in at]
    kept = [0]
    for i in range(1, len(xs)):
        letters = (len(format_value(xs[i])) + len(format_value(xs[kept[-1]]))) / 2
        if inches[i] - inches[kept[-1]] > 0.06 * letters + 0.06:
            kept.append(i)
    return [xs[i] for i in kept]
