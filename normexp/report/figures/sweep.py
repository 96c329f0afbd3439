"""Figures of the final metric over the swept keys: lines over a number, and heat maps of two keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from normexp.plotting.colours import FAINT, INK
from normexp.plotting.labels import evenly_spaced, file_stem, format_tick, truncate
from normexp.plotting.style import NARROW, WIDE, Canvas, DrawnFigure, marker_handle, new_canvas
from normexp.report.aggregate import Row, describe_outcome, format_mean_std
from normexp.report.analysis import Analysis
from normexp.report.curves import MAX_PLOTTED
from normexp.report.groups import format_value, is_number
from normexp.report.metrics import higher_is_better, is_fraction, metric_heading, metric_title
from normexp.report.panels import choices, key_of, line_layout, panel_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SO_FAR = "Groups of which no run has ended yet stand where they are so far."


def swept_numbers(analysis: Analysis) -> list[str]:
    """Grouping keys with at least two numeric values."""
    values = {key: choices(analysis.grouping.groups, key) for key in analysis.grouping.keys}
    return [key for key, own in values.items() if sum(map(is_number, own)) > 1]


def effect(analysis: Analysis, key: str) -> DrawnFigure | None:
    """The metric over a swept number: a line per norm, error bars over seeds. Returns None if no group has a result."""
    metric = analysis.metric
    layout = line_layout(analysis.grouping, across=key)
    groups = [group for group in analysis.grouping.groups if is_number(group.values.get(key))]
    grid = panel_grid(groups, layout.panel_keys, at=analysis.best)
    table = analysis.rows_of(grid.groups)
    diverged = any(row.states.get("diverged") for row in table)
    if not diverged and all(_mean(row) is None for row in table):
        return None
    styles = layout.styles
    used = sorted({layout.line(group) for group in grid.groups})
    legend: list[Any] = [styles[i] for i in used] if layout.line_keys else []
    legend += [marker_handle("x", "diverged")] if diverged else []
    canvas = new_canvas(grid.panels, legend=legend)
    factor = 100.0 if is_fraction(metric) else 1.0
    max_crossed = 0  # lines with diverged runs, in one panel
    same_lines = (
        layout.lines == analysis.layout.lines
    )  # else the page can't hide them along with those of other figures
    for panel in grid.panels:
        axes = canvas.axes[panel.row, panel.column]
        crossed = 0
        for i, style in enumerate(styles):
            line = i if same_lines else None
            own = [row for row in analysis.rows_of(panel.groups) if layout.line(row.group) == i]
            own.sort(key=lambda row: row.group.values[key])
            points = [(row, row.group.values[key], factor * mean) for row in own if (mean := _mean(row)) is not None]
            if points:
                x, y = [x for _, x, _ in points], [y for _, _, y in points]
                bars = [(mean, factor * (row.std or 0)) for row, _, mean in points]
                ends = [mean - std for mean, std in bars], [mean + std for mean, std in bars]
                canvas.mark(axes.vlines(x, *ends, color=style.colour, linewidth=1), line)
                (path,) = axes.plot(x, y, color=style.colour, linestyle=style.dashes, marker=style.marker)
                canvas.mark(path, line, [_tip(row, metric) for row, _, _ in points])
            if any(row.states.get("diverged") for row in own):
                _draw_crosses(canvas, axes, own, key, line=line, colour=style.colour, height=0.05 + 0.12 * crossed)
                crossed += 1
        max_crossed = max(max_crossed, crossed)
    numbers = choices(grid.groups, key)
    ticks = evenly_spaced(numbers, 6 if len(canvas.axes) < 3 else 4)
    for axes in canvas.axes.values():
        if numbers[0] > 0 and numbers[-1] > 9.99 * numbers[0]:
            axes.set_xscale("log")
        axes.set_xticks(ticks, [format_value(tick) for tick in ticks])
        axes.minorticks_off()
    axes = next(iter(canvas.axes.values()))
    low, high = axes.get_ylim()
    strip = 0.12 * max_crossed + 0.04 * bool(max_crossed)  # of the height, for the crosses
    axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= high])
    axes.set_ylim(low - strip / (1 - strip) * (high - low), high)
    canvas.label_axes(x=key, y=metric_title(metric) + (" (%)" if is_fraction(metric) else ""))
    caption = ["Markers: mean over the completed runs of a group; bars: one standard deviation either way."]
    caption += ["A cross at the lower edge, with their number: runs that diverged there."] * diverged
    caption += [SO_FAR] * any(row.so_far for row in table)
    return DrawnFigure(
        name=file_stem(f"{metric}-by-{key}"),
        title=f"{metric_heading(metric)} by {key}",
        caption=" ".join(caption),
        figure=canvas.figure,
        header=_header(analysis),
        rows=list(map(_columns, table)),
        tips=canvas.tips,
        notes=grid.notes,
    )


def _draw_crosses(
    canvas: Canvas, axes: Axes, rows: Sequence[Row], key: str, *, line: int | None, colour: str, height: float
) -> None:
    """Mark groups with diverged runs by crosses at a height (share of the axes), with the number of these runs."""
    for row in rows:
        if not row.states.get("diverged"):
            continue
        (mark,) = axes.plot(
            [row.group.values[key]],
            [height],
            transform=axes.get_xaxis_transform(),
            color=colour,
            marker="x",
            markersize=5,
            markeredgewidth=1.4,
            linestyle="none",
        )
        canvas.mark(mark, line, [f"{row.group.label}: {describe_outcome(row, '')}"])
        if len(row.group.runs) > 1:
            count = axes.annotate(
                str(row.states["diverged"]),
                (row.group.values[key], height),
                xycoords=axes.get_xaxis_transform(),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=6,
                color=colour,
            )
            canvas.mark(count, line)


def heat_map(analysis: Analysis) -> DrawnFigure | None:
    """The metric over two or more swept keys: norms down, the key with most values across, a panel per value of the others.

    Returns None for fewer than two keys, and if no group has a result.
    """
    layout, metric = analysis.layout, analysis.metric
    counts = {key: len(choices(analysis.grouping.groups, key)) for key in layout.panel_keys}
    if not counts or not analysis.table:
        return None
    across = max(counts, key=lambda key: counts[key])
    max_columns = max(1, min(3, int(6 / (0.45 * counts[across]))))
    keys = [key for key in layout.panel_keys if key != across]
    grid = panel_grid(analysis.grouping.groups, keys, at=analysis.best, max_rows=3, max_columns=max_columns)
    columns = choices(grid.groups, across)
    table = analysis.rows_of(grid.groups)
    means = [mean for row in table if (mean := _mean(row)) is not None]
    if not means:
        return None
    lines = sorted({layout.line(group) for group in grid.groups})
    names = [truncate(layout.names[i].removeprefix("norm="), 32) for i in lines]  # longer ones leave no room for cells
    panel_columns = max(panel.column for panel in grid.panels) + 1
    canvas = new_canvas(
        grid.panels,
        height=0.3 * len(lines) + 0.05,
        left=max(0.58, 0.3 + 0.065 * max(map(len, names))),
        width=min(WIDE, max(NARROW, 1 + 0.6 * len(columns) * panel_columns)),
    )
    room = next(iter(canvas.axes.values())).get_position().width * canvas.figure.get_figwidth() / len(columns)
    shades = _Shades(means, metric)
    ticks = evenly_spaced(range(len(columns)), int(len(columns) * room / 0.36))
    for panel in grid.panels:
        axes = canvas.axes[panel.row, panel.column]
        rows = {(layout.line(row.group), key_of(row.group, [across])[0]): row for row in analysis.rows_of(panel.groups)}
        for y, line in enumerate(lines):
            for x, value in enumerate(columns):
                if row := rows.get((line, value)):
                    _draw_cell(canvas, axes, (x, y), row, shades=shades, room=room)
                else:
                    axes.text(x + 0.5, y + 0.5, "-", ha="center", va="center")
        axes.set_xlim(0, len(columns))
        axes.set_ylim(len(lines), 0)
        axes.set_xticks([i + 0.5 for i in ticks], [format_value(columns[i]) for i in ticks])
        axes.set_yticks([i + 0.5 for i in range(len(lines))], names)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    canvas.label_axes(x=across, y=", ".join(layout.line_keys))
    unit = " in %" if is_fraction(metric) else ""
    caption = [
        f"Each cell: the mean of {metric_title(metric)}{unit} over the completed runs of a group; lighter is better."
    ]
    caption += ["div: all diverged; *: some did."] * any(row.states.get("diverged") for row in table)
    caption += [SO_FAR] * any(row.so_far for row in table)
    return DrawnFigure(
        name=file_stem(f"{metric}-heat-map"),
        title=f"{metric_heading(metric)} by {', '.join(layout.line_keys)} and {across}",
        caption=" ".join(caption),
        figure=canvas.figure,
        header=_header(analysis),
        rows=list(map(_columns, table)),
        tips=canvas.tips,
        recolour=False,
        notes=grid.notes,
    )


class _Shades:
    """Colours of cells: lighter is better, on a logarithmic scale if the values span more than a factor of 100."""

    def __init__(self, means: Sequence[float], metric: str) -> None:
        from matplotlib import colormaps
        from matplotlib.colors import LogNorm, Normalize

        low, high = min(means), max(means)
        self.metric = metric
        self.norm = LogNorm(low, high) if 0 < 100 * low < high else Normalize(low, high if high > low else low + 1e-9)
        self.colours = colormaps["viridis" if higher_is_better(metric) else "viridis_r"]

    def __call__(self, mean: float) -> tuple[str, str]:
        """Colour of the cell, and of text that is readable on it."""
        from matplotlib.colors import to_hex

        red, green, blue, _ = self.colours(float(self.norm(mean)))
        bright = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.18
        return to_hex((red, green, blue)), "#000000" if bright else "#ffffff"


def _draw_cell(canvas: Canvas, axes: Axes, at: tuple[int, int], row: Row, *, shades: _Shades, room: float) -> None:
    """Draw a cell of the heat map. room: its width in inches."""
    from matplotlib.patches import Rectangle

    x, y = at
    diverged = row.states.get("diverged", 0)
    mean = _mean(row)
    face, ink = ("none", INK) if mean is None else shades(mean)
    box = Rectangle((x + 0.02, y + 0.03), 0.96, 0.94, facecolor=face, edgecolor=FAINT, linewidth=0.6)
    axes.add_patch(box)
    canvas.mark(box, None, [_tip(row, shades.metric)])
    if mean is None:
        text = "div" if diverged else "-"
    else:
        text = f"{100 * mean:.1f}" if is_fraction(shades.metric) else format_tick(float(f"{mean:.2g}"))
        text += "*" * bool(diverged)
    axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", color=ink, fontsize=7.5 if room > 0.42 else 6)


def _mean(row: Row) -> float | None:
    """The mean, if it can be drawn."""
    return row.mean if row.mean is not None and abs(row.mean) < MAX_PLOTTED else None


def _tip(row: Row, metric: str) -> str:
    """Tooltip such as 'norm=bn lr=0.1: 97.42 % ± 0.11 (n=3), 1 of 4 diverged'."""
    value = f"{format_mean_std(row, metric)} (n={row.n})" if row.n else ""
    return f"{row.group.label}: {', '.join(filter(None, [value, describe_outcome(row, metric)]))}"


def _header(analysis: Analysis) -> list[str]:
    return [*analysis.grouping.keys, "mean", "std", "n", "diverged", "runs"]


def _columns(row: Row) -> list[Any]:
    """CSV row of a group, in the order of `_header`."""
    return [*row.group.values.values(), row.mean, row.std, row.n, row.states.get("diverged", 0), len(row.group.runs)]
