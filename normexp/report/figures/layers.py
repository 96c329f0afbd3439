"""Figures per layer: gradient norms over steps and at the end, and percentiles of the activation inputs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from normexp.metrics import MAX_PLOTTED
from normexp.plotting.colors import LineStyle, sequential_color
from normexp.plotting.labels import abbreviate, evenly_spaced, safe_label, truncate
from normexp.plotting.style import BOTTOM, Canvas, DrawnFigure, log_axis, new_canvas
from normexp.report.analysis import ACTIVATION_INPUTS, GRADIENTS, Analysis
from normexp.report.curves import MeanCurve, average_curves, layer_names
from normexp.report.groups import Group

MAX_LAYERS = 4
"""Rows of the figure of percentiles; more would not fit a screen."""

MIN_GRADIENT, MAX_RATIO = 1e-99, 1e9
"""Gradients below MIN_GRADIENT, which no positive float32 is, count as 0 and are not drawn on the log axis. Those MAX_RATIO times
larger or smaller than the median don't extend its range."""

CUT = "Log scale: zeros are not drawn, and values 10⁹ times above or below the median are cut off."


def gradients_over_time(analysis: Analysis) -> DrawnFigure | None:
    """Gradient norms over steps: one panel per group, one line per layer. Returns None if no run has any."""
    grid = analysis.by_layer
    names = _layers(analysis, grid.groups, GRADIENTS)
    if not names:
        return None
    colors = {name: sequential_color(i, len(names)) for i, name in enumerate(names)}
    legend = [
        LineStyle(abbreviate(name, lambda text: len(text) <= 36), colors[name], "solid", "")
        for name in evenly_spaced(names, 10)
    ]
    canvas = new_canvas(grid.panels, legend=legend, shared="row")
    for panel in grid.panels:
        axes = canvas.axes[panel.row, panel.column]
        for group in panel.groups:
            for name in names:
                if (mean := _mean_curve(analysis, group, GRADIENTS + name)) is not None:
                    (path,) = axes.plot(mean.steps, _positive(mean.mean), color=colors[name], linewidth=1.1)
                    canvas.mark(path, None, [f"{group.label}, {name}"])
    _set_log_limits(canvas)
    canvas.label_axes(x="step", y="gradient norm")
    caption = "One line per layer, first to last as in the legend: norm of the loss gradient with respect to the "
    caption += f"layer's parameters, averaged over the runs of a group. {CUT}"
    if len(legend) < len(names):
        caption += f" {len(legend)} of {len(names)} layers in the legend."
    name, title = "gradients-over-time", "Gradient norm per layer over steps"
    header = [*analysis.grouping.keys, "seed", "state", "run", "layer", "step", "gradient norm"]
    rows = analysis.points(grid.groups, {(layer,): GRADIENTS + layer for layer in names})
    notes = grid.notes
    return DrawnFigure(name, title, caption, canvas.figure, tips=canvas.tips, header=header, rows=rows, notes=notes)


def gradients_at_end(analysis: Analysis) -> DrawnFigure | None:
    """Last logged gradient norms: layers across, a line per group. Returns None for fewer than two layers."""
    grid, layout = analysis.over_time, analysis.layout
    names = layer_names([run.metrics for group in grid.groups for run in group.runs], GRADIENTS)
    if len(names) < 2:
        return None
    shown = evenly_spaced(range(len(names)), 6 if len(grid.panels) > 1 else 10)
    labels = [abbreviate(safe_label(names[i]), lambda text: len(text) <= 16) for i in shown]
    labels = [truncate(label, 18 if "." in label else 24) for label in labels]
    slanted = sum(map(len, labels)) > 22
    bottom = 0.2 + 0.05 * max(map(len, labels)) if slanted else BOTTOM
    canvas = new_canvas(grid.panels, legend=layout.legend(analysis.grouping.groups), bottom=bottom)
    styles = layout.styles
    rows: list[list[Any]] = []
    for panel in grid.panels:
        for group in panel.groups:
            ends = {i: values for i, name in enumerate(names) if (values := _last_values(group, GRADIENTS + name))}
            if not ends:
                continue
            axes, line = canvas.axes[panel.row, panel.column], layout.line(group)
            style = styles[line]
            means = np.array([np.mean(values) for values in ends.values()])
            (path,) = axes.plot(list(ends), _positive(means), color=style.color, linestyle=style.dashes)
            path.set(marker=style.marker, markersize=3.5 if len(names) < 12 else 2)
            canvas.mark(path, line, [f"{group.label}, {names[i]}: {m:.3g}" for i, m in zip(ends, means, strict=True)])
            for (i, values), mean in zip(ends.items(), means.tolist(), strict=True):
                rows.append([*group.values.values(), names[i], mean, min(values), max(values), len(values)])
    _set_log_limits(canvas)
    for axes in canvas.axes.values():
        axes.set_xticks(shown, labels, rotation=40 if slanted else 0, ha="right" if slanted else "center")
        axes.set_xlim(-0.3, len(names) - 0.7)
    canvas.label_axes(x="" if slanted else "layer", y="gradient norm")
    name, title = "gradients-at-the-end", "Gradient norm per layer at the end"
    caption = f"Last logged gradient norms, averaged over the runs of a group; layers in order of depth. {CUT}"
    header = [*analysis.grouping.keys, "layer", "mean", "min", "max", "n"]
    notes = grid.notes
    return DrawnFigure(name, title, caption, canvas.figure, tips=canvas.tips, header=header, rows=rows, notes=notes)


def percentiles(analysis: Analysis) -> DrawnFigure | None:
    """Median and 15th to 85th percentile of the activation inputs: a row per layer, a column per line of other figures."""
    layers = _layers(analysis, analysis.inside.groups, ACTIVATION_INPUTS, "/p50")
    names = evenly_spaced(layers, MAX_LAYERS)
    if not names:
        return None
    styles = analysis.layout.styles
    panels = [
        replace(panel, row=row, title=f"{panel.title}, {name}".removeprefix(", "))
        for row, name in enumerate(names)
        for panel in analysis.inside.panels
    ]
    canvas = new_canvas(panels, height=1.0, shared="row")
    for panel in panels:
        axes, group, name = canvas.axes[panel.row, panel.column], panel.groups[0], names[panel.row]
        tags = [f"{ACTIVATION_INPUTS}{name}/p{p}" for p in (15, 50, 85)]
        low, middle, high = (_mean_curve(analysis, group, tag) for tag in tags)
        if low is None or middle is None or high is None:
            continue
        style = styles[analysis.layout.line(group)]
        steps = np.union1d(low.steps, high.steps)
        steps = steps[(steps >= max(low.steps[0], high.steps[0])) & (steps <= min(low.steps[-1], high.steps[-1]))]
        lower, upper = np.interp(steps, low.steps, low.mean), np.interp(steps, high.steps, high.mean)
        axes.fill_between(steps, lower, upper, color=style.color, alpha=0.22, linewidth=0)
        (path,) = axes.plot(middle.steps, middle.mean, color=style.color, marker="." if len(middle.steps) < 9 else "")
        canvas.mark(path, None, [f"{group.label}, {name}: median"])
    canvas.label_axes(x="step", y="value")
    columns = {(name, p): f"{ACTIVATION_INPUTS}{name}/p{p}" for name in names for p in (15, 50, 85)}
    rows = analysis.points(analysis.inside.groups, columns)
    name, title = "percentiles", "Activation inputs over steps"
    caption = "Rows are layers, columns are configurations. Line: median of the activation inputs; band: 15th "
    caption += "to 85th percentile, each averaged over the runs of a group."
    header = [*analysis.grouping.keys, "seed", "state", "run", "layer", "percentile", "step", "value"]
    left_out = [f"{len(names)} of {len(layers)} layers shown."] * (len(layers) > len(names))
    notes = [*analysis.inside.notes, *left_out]
    return DrawnFigure(name, title, caption, canvas.figure, tips=canvas.tips, header=header, rows=rows, notes=notes)


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


def _set_log_limits(canvas: Canvas) -> None:
    """Make the y axes logarithmic, with limits around the lines of all panels that share the axis, outliers excepted."""
    for axes in canvas.axes.values():
        axes.set_yscale("log")
        siblings = axes.get_shared_y_axes().get_siblings(axes)
        lines = [np.asarray(line.get_ydata(), dtype=float) for other in siblings for line in other.lines]
        values = np.concatenate([*lines, np.array([])])
        values = values[np.isfinite(values)]
        if not len(values):
            values = np.array([0.2, 1.0, 5.0])  # all gradients are 0
        middle = float(np.median(values))
        axes.set_ylim(max(values.min(), middle / MAX_RATIO) / 2, min(values.max(), middle * MAX_RATIO) * 2)
        log_axis(axes.yaxis)
