"""Figures by layer: gradient norms over the steps and at the end, and percentiles of the activation inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from normexp.plotting.colours import LineStyle, sequential_colour
from normexp.plotting.labels import evenly_spaced, safe_label, truncate
from normexp.plotting.style import BOTTOM, DrawnFigure, log_axis, new_canvas
from normexp.report.analysis import ACTIVATION_INPUTS, GRADIENTS, Analysis
from normexp.report.curves import MAX_PLOTTED, MeanCurve, average_curves, layer_names
from normexp.report.groups import Group
from normexp.report.panels import GroupPanel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_LAYERS = 4
"""Rows of the figure of percentiles; more would not fit a screen."""

MIN_GRADIENT = 1e-99
"""Smaller than any positive float32: what is below is 0, which a logarithmic axis can't show."""

MAX_RATIO = 1e9
"""Gradients this many times larger or smaller than the median don't count for the range of the axis."""

CUT_OFF = (
    "A gradient of zero has no place on the axis, and what is 10⁹ times as large or small as the median is cut off."
)


def gradients_over_time(analysis: Analysis) -> DrawnFigure | None:
    """Gradient norms over the steps: a panel per group, a line per layer. Returns None if no run has any."""
    grid = analysis.by_layer
    names = _layers(analysis, grid.groups, GRADIENTS)
    if not names:
        return None
    colours = {name: sequential_colour(i, len(names)) for i, name in enumerate(names)}
    listed = evenly_spaced(names, 10)
    legend = [LineStyle(name, colours[name], "solid", "") for name in listed]
    canvas = new_canvas(grid.panels, legend=legend, shared="row")
    for panel in grid.panels:
        axes = canvas.axes[panel.row, panel.column]
        for group in panel.groups:
            for name in names:
                if (mean := _mean_curve(analysis, group, GRADIENTS + name)) is not None:
                    (path,) = axes.plot(mean.steps, _positive(mean.mean), color=colours[name], linewidth=1.1)
                    canvas.mark(path, None, [f"{group.label}, {name}"])
    _set_log_limits(list(canvas.axes.values()))
    canvas.label_axes(x="step", y="gradient norm")
    caption = (
        "A line a layer, from the first to the last as in the legend: the norm of the loss's gradient with respect "
        f"to all of its parameters, averaged over the runs of a group. {CUT_OFF}"
    )
    if len(listed) < len(names):
        caption += f" The legend names {len(listed)} of the {len(names)} layers."
    return DrawnFigure(
        name="gradients-over-time",
        title="Gradient norms of the layers over the steps",
        caption=caption,
        figure=canvas.figure,
        header=[*analysis.grouping.keys, "seed", "state", "run", "layer", "step", "gradient norm"],
        rows=analysis.points(grid.groups, {(name,): GRADIENTS + name for name in names}),
        tips=canvas.tips,
        notes=grid.notes,
    )


def gradients_at_end(analysis: Analysis) -> DrawnFigure | None:
    """Last logged gradient norms: layers across, a line per group. Returns None for fewer than two layers."""
    grid, layout = analysis.over_time, analysis.layout
    names = layer_names([run.metrics for group in grid.groups for run in group.runs], GRADIENTS)
    if len(names) < 2:
        return None
    shown = evenly_spaced(range(len(names)), 6 if len(grid.panels) > 1 else 10)
    labels = [truncate(safe_label(names[i]), 24) for i in shown]
    slanted = sum(map(len, labels)) > 22
    bottom = 0.2 + 0.05 * max(map(len, labels)) if slanted else BOTTOM
    canvas = new_canvas(grid.panels, legend=layout.legend, bottom=bottom)
    styles = layout.styles
    rows: list[list[Any]] = []
    for panel in grid.panels:
        axes = canvas.axes[panel.row, panel.column]
        for group in panel.groups:
            ends = {i: values for i, name in enumerate(names) if (values := _last_values(group, GRADIENTS + name))}
            if not ends:
                continue
            line = layout.line(group)
            means = np.array([np.mean(values) for values in ends.values()])
            (path,) = axes.plot(
                list(ends),
                _positive(means),
                color=styles[line].colour,
                linestyle=styles[line].dashes,
                marker=styles[line].marker,
                markersize=3.5 if len(names) < 12 else 2,
            )
            canvas.mark(path, line, [f"{group.label}, {names[i]}: {m:.3g}" for i, m in zip(ends, means, strict=True)])
            rows += [
                [*group.values.values(), names[i], mean, min(values), max(values), len(values)]
                for (i, values), mean in zip(ends.items(), means.tolist(), strict=True)
            ]
    _set_log_limits(list(canvas.axes.values()))
    for axes in canvas.axes.values():
        axes.set_xticks(shown, labels, rotation=40 if slanted else 0, ha="right" if slanted else "center")
        axes.set_xlim(-0.3, len(names) - 0.7)
    canvas.label_axes(x="" if slanted else "layer", y="gradient norm")
    return DrawnFigure(
        name="gradients-at-the-end",
        title="Gradient norms of the layers at the end",
        caption="The last gradient norms that the runs of a group logged, averaged over them; layers in order of depth. "
        + CUT_OFF,
        figure=canvas.figure,
        header=[*analysis.grouping.keys, "layer", "mean", "min", "max", "n"],
        rows=rows,
        tips=canvas.tips,
        notes=grid.notes,
    )


def percentiles(analysis: Analysis) -> DrawnFigure | None:
    """Median and 15th to 85th percentile of the activation inputs: a row per layer, a column per line of other figures."""
    notes = list(analysis.inside.notes)
    layers = _layers(analysis, analysis.inside.groups, ACTIVATION_INPUTS, "/p50")
    names = evenly_spaced(layers, MAX_LAYERS)
    if len(layers) > len(names):
        notes.append(f"Of the {len(layers)} layers, {len(names)} are shown.")
    if not names:
        return None
    styles = analysis.layout.styles
    grid = [
        GroupPanel(row, panel.column, f"{panel.title}, {name}".removeprefix(", "), [group])
        for row, name in enumerate(names)
        for panel in analysis.inside.panels
        for group in panel.groups
    ]
    canvas = new_canvas(grid, height=1.0, shared="row")
    for panel in grid:
        axes, group, name = canvas.axes[panel.row, panel.column], panel.groups[0], names[panel.row]
        low, middle, high = (
            _mean_curve(analysis, group, f"{ACTIVATION_INPUTS}{name}/{p}") for p in ("p15", "p50", "p85")
        )
        if low is None or middle is None or high is None:
            continue
        style = styles[analysis.layout.line(group)]
        _draw_band(axes, low, high, style)
        (path,) = axes.plot(middle.steps, middle.mean, color=style.colour, marker="." if len(middle.steps) < 9 else "")
        canvas.mark(path, None, [f"{group.label}, {name}: median"])
    canvas.label_axes(x="step", y="value")
    tags = {(name, p): f"{ACTIVATION_INPUTS}{name}/p{p}" for name in names for p in (15, 50, 85)}
    return DrawnFigure(
        name="percentiles",
        title="What enters the activations, over the steps",
        caption="A row a layer, a column a line of the other figures. Line: median of the values that enter the activation; "
        "band: from their 15th to their 85th percentile, each averaged over the runs of a group.",
        figure=canvas.figure,
        header=[*analysis.grouping.keys, "seed", "state", "run", "layer", "percentile", "step", "value"],
        rows=analysis.points(analysis.inside.groups, tags),
        tips=canvas.tips,
        notes=notes,
    )


def _draw_band(axes: Axes, low: MeanCurve, high: MeanCurve, style: LineStyle) -> None:
    steps = np.union1d(low.steps, high.steps)
    steps = steps[(steps >= max(low.steps[0], high.steps[0])) & (steps <= min(low.steps[-1], high.steps[-1]))]
    lower, upper = np.interp(steps, low.steps, low.mean), np.interp(steps, high.steps, high.mean)
    axes.fill_between(steps, lower, upper, color=style.colour, alpha=0.22, linewidth=0)


def _layers(analysis: Analysis, groups: Sequence[Group], prefix: str, suffix: str = "") -> list[str]:
    return layer_names([analysis.curves.get(run.directory, {}) for g in groups for run in g.runs], prefix, suffix)


def _mean_curve(analysis: Analysis, group: Group, tag: str) -> MeanCurve | None:
    tagged = [curve for _, curve in analysis.tagged(group.runs, tag)]
    return average_curves(tagged, span=analysis.last_step(group.runs)) if tagged else None


def _last_values(group: Group, tag: str) -> list[float]:
    """Last values of the completed runs, or of all runs if none completed."""
    runs = [run for run in group.runs if run.state == "completed"] or group.runs
    return [value for run in runs if (value := run.metrics.get(tag)) is not None and value < MAX_PLOTTED]


def _positive(values: Any) -> Any:
    return np.where(values > MIN_GRADIENT, values, np.nan)


def _set_log_limits(panels: Sequence[Axes]) -> None:
    """Make the y axes logarithmic, with limits around the lines of all panels that share the axis, outliers excepted."""
    for axes in panels:
        axes.set_yscale("log")
        siblings = axes.get_shared_y_axes().get_siblings(axes)
        lines = [np.asarray(line.get_ydata(), dtype=float) for other in siblings for line in other.lines]
        values = np.concatenate([*lines, np.array([])])
        values = values[np.isfinite(values)]
        middle = float(np.median(values)) if len(values) else 1.0
        low, high = (values.min(), values.max()) if len(values) else (0.2, 5.0)  # all gradients are 0
        axes.set_ylim(max(low, middle / MAX_RATIO) / 2, min(high, middle * MAX_RATIO) * 2)
        log_axis(axes.yaxis)
