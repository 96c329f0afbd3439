"""What happens layer by layer: gradient norms over time and at the end, and percentiles of what enters the activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from normexp.plotting.colours import Look, looks, scale
from normexp.plotting.style import BOTTOM, Drawn, canvas, clean, log_axis, outer_labels, short
from normexp.report.curves import BEYOND, Average, average, layers
from normexp.report.figures.panels import Panel, spread
from normexp.report.figures.study import ENTERING, GRADIENTS, Study
from normexp.report.groups import Group

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LAYERS = 4
"""Rows of the figure of percentiles."""

TINY = 1e-99
"""No float32 is as small but zero, which has no place on a logarithmic axis."""

FAR = 1e9
"""How many times as large or small as the median a gradient may be, to count for the range of the axis."""


def gradients_over_time(study: Study) -> Drawn | None:
    """A panel a group, a line a layer, coloured in order of depth. None where no run has gradient norms."""
    grid = study.by_layer
    names = _layers(study, grid.groups, GRADIENTS)
    if not names:
        return None
    colours = {name: scale(i, len(names)) for i, name in enumerate(names)}
    listed = spread(names, 10)
    drawn = canvas(grid.panels, legend=[Look(name, colours[name], "solid", "") for name in listed], shared="row")
    for panel in grid.panels:
        axes = drawn.axes[panel.row, panel.column]
        for group in panel.groups:
            for name in names:
                found = study.tagged(group.runs, GRADIENTS + name)
                if not found:
                    continue
                mean = average([curve for _, curve in found], span=study.span(group.runs))
                (path,) = axes.plot(
                    mean.steps, np.where(mean.mean > TINY, mean.mean, np.nan), color=colours[name], linewidth=1.1
                )
                drawn.mark(path, None, [f"{group.label}, {name}"])
    _log(list(drawn.axes.values()))
    outer_labels(drawn, x="step", y="gradient norm")
    return Drawn(
        name="gradients-over-time",
        title="Gradient norms of the layers over the steps",
        caption="A line a layer, from the first (blue) to the last (orange): the norm of the loss's gradient with respect "
        "to all of its parameters, averaged over the runs of a group. A gradient of zero has no place on the axis, "
        "and what is 10⁹ times as large or small as the median is cut off."
        + f" The legend names {len(listed)} of the {len(names)} layers."
        * (len(listed) < len(names)),
        figure=drawn.figure,
        header=[*study.grouping.keys, "seed", "state", "run", "layer", "step", "gradient norm"],
        rows=(
            [*group.values.values(), run.config.get("seed"), run.state, run.name, name, step, value]
            for group in grid.groups
            for name in names
            for run, curve in study.tagged(group.runs, GRADIENTS + name)
            for step, value in zip(curve.steps.tolist(), curve.values.tolist(), strict=True)
        ),
        tips=drawn.tips,
        notes=grid.notes,
    )


def gradients_at_end(study: Study) -> Drawn | None:
    """Layers across, in order of depth; a line a group: the last gradient norms that its runs logged."""
    grid = study.over_time
    tables = [run.metrics for group in grid.groups for run in group.runs]
    names = layers(tables, GRADIENTS)
    if len(names) < 2:
        return None
    styles = looks(study.plan)
    shown = spread(range(len(names)), 6 if len(grid.panels) > 1 else 10)
    labels = [short(clean(names[i]), 24) for i in shown]
    slanted = sum(map(len, labels)) > 22
    drawn = canvas(
        grid.panels,
        legend=styles if study.plan.colours else [],
        bottom=0.2 + 0.05 * max(map(len, labels)) if slanted else BOTTOM,
    )
    rows: list[list[Any]] = []
    for panel in grid.panels:
        axes = drawn.axes[panel.row, panel.column]
        for group in panel.groups:
            ends = {name: _ends(group, GRADIENTS + name) for name in names}
            places = [i for i, name in enumerate(names) if ends[name]]
            if not places:
                continue
            line = study.plan.line(group)
            means = np.array([np.mean(ends[names[i]]) for i in places])
            (path,) = axes.plot(
                places,
                np.where(means > TINY, means, np.nan),
                color=styles[line].colour,
                linestyle=styles[line].dashes,
                marker=styles[line].marker,
                markersize=3.5 if len(names) < 12 else 2,
            )
            drawn.mark(path, line, [f"{group.label}, {names[i]}: {m:.3g}" for i, m in zip(places, means, strict=True)])
            rows += [
                [*group.values.values(), names[i], mean, min(ends[names[i]]), max(ends[names[i]]), len(ends[names[i]])]
                for i, mean in zip(places, means.tolist(), strict=True)
            ]
    _log(list(drawn.axes.values()))
    for axes in drawn.axes.values():
        axes.set_xticks(shown, labels, rotation=40 if slanted else 0, ha="right" if slanted else "center")
        axes.set_xlim(-0.3, len(names) - 0.7)
    outer_labels(drawn, x="" if slanted else "layer", y="gradient norm")
    return Drawn(
        name="gradients-at-the-end",
        title="Gradient norms of the layers at the end",
        caption="The last gradient norms that the runs of a group logged, averaged over them; layers in order of depth. "
        "A gradient of zero has no place on the axis, and what is 10⁹ times as large or small as the median is cut off.",
        figure=drawn.figure,
        header=[*study.grouping.keys, "layer", "mean", "min", "max", "n"],
        rows=rows,
        tips=drawn.tips,
        notes=grid.notes,
    )


def percentiles(study: Study) -> Drawn | None:
    """What enters the activation of some layers (rows) with each norm (columns): median, and 15th to 85th percentile."""
    notes = list(study.inside.notes)
    every = _layers(study, study.inside.groups, ENTERING, "/p50")
    names = spread(every, MOST_LAYERS)
    if len(every) > len(names):
        notes.append(f"Of the {len(every)} layers, {len(names)} are shown.")
    if not names:
        return None
    styles = looks(study.plan)
    grid = [
        Panel(row, panel.column, f"{panel.title}, {name}".removeprefix(", "), [group])
        for row, name in enumerate(names)
        for panel in study.inside.panels
        for group in panel.groups
    ]
    drawn = canvas(grid, height=1.0, shared="row")
    for panel in grid:
        axes, group, name = drawn.axes[panel.row, panel.column], panel.groups[0], names[panel.row]
        tags = [f"{ENTERING}{name}/{p}" for p in ("p15", "p50", "p85")]
        found = [study.tagged(group.runs, tag) for tag in tags]
        if not all(found):
            continue
        low, middle, high = (average([c for _, c in own], span=study.span(group.runs)) for own in found)
        look = styles[study.plan.line(group)]
        _band(axes, low, high, look)
        (path,) = axes.plot(middle.steps, middle.mean, color=look.colour, marker="." if len(middle.steps) < 9 else "")
        drawn.mark(path, None, [f"{group.label}, {name}: median"])
    outer_labels(drawn, x="step", y="value")
    return Drawn(
        name="percentiles",
        title="What enters the activations, over the steps",
        caption="A row a layer, a column a line of the other figures. Line: median of the values that enter the activation; "
        "band: from their 15th to their 85th percentile, each averaged over the runs of a group.",
        figure=drawn.figure,
        header=[*study.grouping.keys, "seed", "state", "run", "layer", "percentile", "step", "value"],
        rows=(
            [*group.values.values(), run.config.get("seed"), run.state, run.name, name, percentile, step, value]
            for group in study.inside.groups
            for name in names
            for percentile in (15, 50, 85)
            for run, curve in study.tagged(group.runs, f"{ENTERING}{name}/p{percentile}")
            for step, value in zip(curve.steps.tolist(), curve.values.tolist(), strict=True)
        ),
        tips=drawn.tips,
        notes=notes,
    )


def _band(axes: Axes, low: Average, high: Average, look: Look) -> None:
    steps = np.union1d(low.steps, high.steps)
    steps = steps[(steps >= max(low.steps[0], high.steps[0])) & (steps <= min(low.steps[-1], high.steps[-1]))]
    lower, upper = np.interp(steps, low.steps, low.mean), np.interp(steps, high.steps, high.mean)
    axes.fill_between(steps, lower, upper, color=look.colour, alpha=0.22, linewidth=0)


def _layers(study: Study, groups: list[Group], start: str, end: str = "") -> list[str]:
    return layers([study.curves.get(run.directory, {}) for group in groups for run in group.runs], start, end)


def _ends(group: Group, tag: str) -> list[float]:
    """The last values of the runs that completed, or of all where none did."""
    completed = [run for run in group.runs if run.state == "completed"] or group.runs
    return [value for run in completed if (value := run.metrics.get(tag)) is not None and value < BEYOND]


def _log(panels: list[Axes]) -> None:
    """Logarithmic axes, each as far as the lines of the panels that share it reach, but for what is far from all else."""
    for axes in panels:
        axes.set_yscale("log")
        own = [line.get_ydata() for each in axes.get_shared_y_axes().get_siblings(axes) for line in each.lines]
        values = np.concatenate([np.asarray(each, dtype=float) for each in own] or [np.array([])])
        values = values[np.isfinite(values)]
        middle = float(np.median(values)) if len(values) else 1.0
        low, high = (values.min(), values.max()) if len(values) else (0.2, 5.0)  # nothing but zeros
        axes.set_ylim(max(low, middle / FAR) / 2, min(high, middle * FAR) * 2)
        log_axis(axes.yaxis)
