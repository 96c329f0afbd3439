"""Figures of the final metric over the swept keys: lines over a number, and heat maps of two keys."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.patches import Rectangle

from normexp.metrics import MAX_PLOTTED, has_direction, higher_is_better, is_fraction, metric_heading, metric_title
from normexp.plotting.colors import FAINT, INK
from normexp.plotting.labels import evenly_spaced, file_stem, truncate
from normexp.plotting.style import NARROW, WIDE, Canvas, DrawnFigure, marker_handle, new_canvas
from normexp.report.aggregate import Row, describe_outcome, format_mean_std
from normexp.report.analysis import Analysis
from normexp.report.groups import choices, is_number
from normexp.report.panels import PanelGrid, key_of, line_layout, panel_grid


def swept_numbers(analysis: Analysis) -> list[str]:
    """Grouping keys with at least two numeric values."""
    values = {key: choices(analysis.grouping.groups, key) for key in analysis.grouping.keys}
    return [key for key, own in values.items() if sum(map(is_number, own)) > 1]


def effect(analysis: Analysis, key: str) -> DrawnFigure | None:
    """The metric over a swept number: a line per norm, error bars over seeds. Returns None if no group has a result."""
    metric = analysis.metric
    layout = line_layout(analysis.grouping, across=key, display=analysis.display)
    groups = [group for group in analysis.grouping.groups if is_number(group.values.get(key))]
    grid = panel_grid(groups, layout.panel_keys, at=analysis.best, display=analysis.display)
    table = analysis.rows_of(grid.groups)
    diverged = any(row.states.get("diverged") for row in table)
    if not diverged and all(_mean(row) is None for row in table):
        return None
    legend: list[Any] = [*layout.legend(grid.groups), *([marker_handle("x", "diverged")] if diverged else [])]
    canvas = new_canvas(grid.panels, legend=legend)
    factor = 100.0 if is_fraction(metric) else 1.0
    max_crossed = 0  # lines with diverged runs, in one panel
    hideable = layout.lines == analysis.layout.lines  # on the page, along with the same lines of other figures
    for panel in grid.panels:
        axes = canvas.axes[panel.row, panel.column]
        crossed = 0
        for i, style in enumerate(layout.styles):
            line = i if hideable else None
            own = [row for row in analysis.rows_of(panel.groups) if layout.line(row.group) == i]
            own.sort(key=lambda row: row.group.values[key])
            bars = [(row, factor * mean, factor * (row.std or 0)) for row in own if (mean := _mean(row)) is not None]
            if bars:
                x, y = [row.group.values[key] for row, _, _ in bars], [mean for _, mean, _ in bars]
                ends = [mean - std for _, mean, std in bars], [mean + std for _, mean, std in bars]
                canvas.mark(axes.vlines(x, *ends, color=style.color, linewidth=1), line)
                (path,) = axes.plot(x, y, color=style.color, linestyle=style.dashes, marker=style.marker)
                canvas.mark(path, line, [_tip(row, metric) for row, _, _ in bars])
            if any(row.states.get("diverged") for row in own):
                _draw_crosses(canvas, axes, own, key, line=line, color=style.color, height=0.05 + 0.12 * crossed)
                crossed += 1
        max_crossed = max(max_crossed, crossed)
    numbers = choices(grid.groups, key)
    ticks = evenly_spaced(numbers, 6 if len(canvas.axes) < 3 else 4)
    for axes in canvas.axes.values():
        if numbers[0] > 0 and numbers[-1] > 9.99 * numbers[0]:
            axes.set_xscale("log")
        axes.set_xticks(ticks, [analysis.display.value(key, tick) for tick in ticks])
        axes.minorticks_off()
    axes = next(iter(canvas.axes.values()))
    low, high = axes.get_ylim()
    strip = 0.12 * max_crossed + 0.04 * bool(max_crossed)  # of the height, for the crosses
    axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= high])
    axes.set_ylim(low - strip / (1 - strip) * (high - low), high)
    canvas.label_axes(x=analysis.display.key(key), y=analysis.display.axis(metric))
    caption = "Marker: mean over the completed runs of a group; bar: ± one standard deviation."
    if diverged:
        caption += " Cross at the lower edge: diverged runs, with their number."
    return _figure(analysis, grid, canvas, name=f"by-{key}", by=f"by {key}", caption=caption)


def _draw_crosses(
    canvas: Canvas, axes: Axes, rows: Sequence[Row], key: str, *, line: int | None, color: str, height: float
) -> None:
    """Mark groups with diverged runs by crosses at a height (share of the axes), with the number of these runs."""
    transform = axes.get_xaxis_transform()
    for row in rows:
        if not row.states.get("diverged"):
            continue
        x, diverged = row.group.values[key], str(row.states["diverged"])
        (mark,) = axes.plot([x], [height], "x", color=color, markersize=5, markeredgewidth=1.4, transform=transform)
        canvas.mark(mark, line, [f"{row.group.label}: {describe_outcome(row, '')}"])
        if len(row.group.runs) > 1:
            count = axes.annotate(diverged, (x, height), (0, 3), xycoords=transform, textcoords="offset points")
            count.set(ha="center", va="bottom", fontsize=6, color=color)
            canvas.mark(count, line)


def heat_map(analysis: Analysis) -> DrawnFigure | None:
    """The metric over two or more swept keys: norms down, the key with most values across, a panel per value of the others."""
    layout, metric = analysis.layout, analysis.metric
    counts = {key: len(choices(analysis.grouping.groups, key)) for key in layout.panel_keys}
    if not counts or not analysis.table:
        return None
    across = max(counts, key=lambda key: counts[key])
    max_columns = max(1, min(3, int(6 / (0.45 * counts[across]))))
    keys = [key for key in layout.panel_keys if key != across]
    display = analysis.display
    grid = panel_grid(analysis.grouping.groups, keys, at=analysis.best, max_columns=max_columns, display=display)
    columns = choices(grid.groups, across)
    table = analysis.rows_of(grid.groups)
    means = [mean for row in table if (mean := _mean(row)) is not None]
    if not means:
        return None
    low, high = min(means), max(means)
    norm = LogNorm(low, high) if 0 < 100 * low < high else Normalize(low, high if high > low else low + 1e-9)
    scale = ScalarMappable(norm, "viridis" if higher_is_better(metric) or not has_direction(metric) else "viridis_r")
    lines = sorted({layout.line(group) for group in grid.groups})
    names = [truncate(layout.names[i].removeprefix("norm="), 32) for i in lines]  # longer ones leave no room for cells
    panel_columns = max(panel.column for panel in grid.panels) + 1
    left = max(0.58, 0.3 + 0.065 * max(map(len, names)))
    width = min(WIDE, max(NARROW, 1 + 0.6 * len(columns) * panel_columns))
    canvas = new_canvas(grid.panels, height=0.3 * len(lines) + 0.05, left=left, width=width)
    room = next(iter(canvas.axes.values())).get_position().width * canvas.figure.get_figwidth() / len(columns)
    ticks = evenly_spaced(range(len(columns)), int(len(columns) * room / 0.36))
    for panel in grid.panels:
        axes = canvas.axes[panel.row, panel.column]
        rows = {(layout.line(row.group), key_of(row.group, [across])[0]): row for row in analysis.rows_of(panel.groups)}
        for y, line in enumerate(lines):
            for x, value in enumerate(columns):
                if row := rows.get((line, value)):
                    _draw_cell(canvas, axes, (x, y), row, metric=metric, scale=scale, room=room)
                else:
                    axes.text(x + 0.5, y + 0.5, "-", ha="center", va="center")
        axes.set_xlim(0, len(columns))
        axes.set_ylim(len(lines), 0)
        axes.set_xticks([i + 0.5 for i in ticks], [display.value(across, columns[i]) for i in ticks])
        axes.set_yticks([i + 0.5 for i in range(len(lines))], names)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    canvas.label_axes(x=display.key(across), y=", ".join(map(display.key, layout.line_keys)))
    unit = " in %" if is_fraction(metric) else ""
    lighter = "better" if has_direction(metric) else "larger"
    caption = f"Cell: mean {metric_title(metric)}{unit} over the completed runs of a group; lighter is {lighter}."
    if any(row.states.get("diverged") for row in table):
        caption += " div: all runs diverged; *: some diverged."
    by = f"by {', '.join(layout.line_keys)} and {across}"
    return replace(_figure(analysis, grid, canvas, name="heat-map", by=by, caption=caption), recolor=False)


def _draw_cell(
    canvas: Canvas, axes: Axes, at: tuple[int, int], row: Row, *, metric: str, scale: ScalarMappable, room: float
) -> None:
    """Draw a cell of the heat map. room: its width in inches."""
    x, y = at
    diverged, mean = row.states.get("diverged", 0), _mean(row)
    face: Any = "none"
    ink, text = INK, "div" if diverged else "-"
    if mean is not None:
        face = red, green, blue = scale.to_rgba(np.array(mean))[:3]
        bright = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.18
        ink = "#000000" if bright else "#ffffff"
        text = f"{100 * mean:.1f}" if is_fraction(metric) else f"{float(f'{mean:.2g}'):g}"
        text += "*" * bool(diverged)
    box = Rectangle((x + 0.02, y + 0.03), 0.96, 0.94, facecolor=face, edgecolor=FAINT, linewidth=0.6)
    axes.add_patch(box)
    canvas.mark(box, None, [_tip(row, metric)])
    axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", color=ink, fontsize=7.5 if room > 0.42 else 6)


def _figure(analysis: Analysis, grid: PanelGrid, canvas: Canvas, *, name: str, by: str, caption: str) -> DrawnFigure:
    """The figure, with the results of its groups as data."""
    table = analysis.rows_of(grid.groups)
    if any(row.so_far for row in table):
        caption += " Groups without a finished run show their latest values."
    rows = [
        [*row.group.values.values(), row.mean, row.std, row.n, row.states.get("diverged", 0), len(row.group.runs)]
        for row in table
    ]
    header = [*analysis.grouping.keys, "mean", "std", "n", "diverged", "runs"]
    name, title, notes = file_stem(f"{analysis.metric}-{name}"), f"{metric_heading(analysis.metric)} {by}", grid.notes
    return DrawnFigure(name, title, caption, canvas.figure, tips=canvas.tips, header=header, rows=rows, notes=notes)


def _mean(row: Row) -> float | None:
    """The mean, if it can be drawn."""
    return row.mean if row.mean is not None and abs(row.mean) < MAX_PLOTTED else None


def _tip(row: Row, metric: str) -> str:
    """Tooltip such as 'norm=bn lr=0.1: 97.42 % ± 0.11 (n=3), 1 of 4 diverged'."""
    value = f"{format_mean_std(row, metric)} (n={row.n})" if row.n else ""
    return f"{row.group.label}: {', '.join(filter(None, [value, describe_outcome(row, metric)]))}"
