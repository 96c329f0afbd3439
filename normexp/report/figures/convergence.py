"""Convergence figures: a scalar over steps, averaged over seeds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from normexp.metrics import format_metric, is_fraction, metric_heading
from normexp.plotting.colors import LineStyle
from normexp.plotting.labels import file_stem
from normexp.plotting.style import Canvas, DrawnFigure, log_axis, marker_handle, new_canvas
from normexp.report.analysis import Analysis
from normexp.report.curves import MeanCurve, average_curves, thin
from normexp.report.groups import Group
from normexp.report.read import Curve, Run


def curves(analysis: Analysis, tag: str) -> DrawnFigure | None:
    """Draw the curves of a tag, one panel per setting. Returns None if no run has the tag."""
    groups, layout = analysis.over_time.groups, analysis.layout
    shown = {id(group): analysis.tagged(group.runs, tag) for group in groups}
    if not any(shown.values()):
        return None
    factor = 100.0 if is_fraction(tag) else 1.0
    means, singles = {}, {}
    for group in groups:
        span = analysis.last_step(group.runs)
        scaled = [(run, Curve(curve.steps, curve.values * factor)) for run, curve in shown[id(group)]]
        if completed := [curve for run, curve in scaled if run.state == "completed"]:
            means[id(group)] = average_curves(completed, span=span)
        singles[id(group)] = [(run, thin(curve, span=span)) for run, curve in scaled if run.state != "completed"]
    alone = [curve for runs in singles.values() for _, curve in runs]
    bottom, top, logarithmic, cut = _limits(list(means.values()), alone, bounded=is_fraction(tag))
    states = {run.state for runs in singles.values() for run, _ in runs}
    legend: list[Any] = [*layout.legend(group for group in groups if shown[id(group)])]
    legend += [marker_handle("x", "diverged")] if "diverged" in states else []
    legend += [marker_handle("o", "unfinished")] if states - {"diverged"} else []
    styles = layout.styles
    canvas = new_canvas(analysis.over_time.panels, legend=legend)
    for panel in analysis.over_time.panels:
        axes = canvas.axes[panel.row, panel.column]
        for group in panel.groups:
            line = layout.line(group)
            _draw_singles(canvas, axes, group, singles[id(group)], line=line, style=styles[line], top=top)
            if id(group) in means:
                _draw_mean(canvas, axes, group, means[id(group)], line=line, style=styles[line], tag=tag)
    axes = next(iter(canvas.axes.values()))
    axes.set_ylim(bottom, top)
    axes.set_xlim(left=0)
    for axes in canvas.axes.values() if logarithmic else ():
        axes.set_yscale("log")
        log_axis(axes.yaxis)
    canvas.label_axes(x="step", y=analysis.display.axis(tag))
    averaged = any(len(group.runs) > 1 for group in groups)
    sentences = {
        "Line: mean over the completed runs of a group; band: minimum to maximum.": averaged,
        "Thin lines: runs that did not complete. Cross: diverged; open circle: latest value.": states,
        "The y-axis is clipped; extreme peaks are cut off.": cut,
    }
    caption = " ".join(sentence for sentence, applies in sentences.items() if applies)
    name, title, notes = file_stem(f"curve-{tag}"), f"{metric_heading(tag)} over steps", analysis.over_time.notes
    header, rows = [*analysis.grouping.keys, "seed", "state", "run", "step", tag], analysis.points(groups, {(): tag})
    return DrawnFigure(name, title, caption, canvas.figure, tips=canvas.tips, header=header, rows=rows, notes=notes)


def _draw_mean(
    canvas: Canvas, axes: Axes, group: Group, curve: MeanCurve, *, line: int, style: LineStyle, tag: str
) -> None:
    if (curve.high > curve.low).any():
        band = axes.fill_between(curve.steps, curve.low, curve.high, color=style.color, alpha=0.18, linewidth=0)
        canvas.mark(band, line)
    (path,) = axes.plot(curve.steps, curve.mean, color=style.color, linestyle=style.dashes)
    last = curve.mean[-1] / (100.0 if is_fraction(tag) else 1.0)
    canvas.mark(path, line, [f"{group.label}: {format_metric(last, tag)} at step {curve.steps[-1]}"])
    if len(curve.steps) == 1:
        path.set_marker(style.marker)


def _draw_singles(
    canvas: Canvas, axes: Axes, group: Group, runs: list[tuple[Run, Curve]], *, line: int, style: LineStyle, top: float
) -> None:
    """Draw the runs of a group that did not complete as one artist, because there may be hundreds."""
    if runs:
        steps = np.concatenate([part for _, curve in runs for part in (curve.steps, [np.nan])])
        values = np.concatenate([part for _, curve in runs for part in (curve.values, [np.nan])])
        (path,) = axes.plot(steps, values, color=style.color, linewidth=0.7, alpha=0.65)
        canvas.mark(path, line)
    for marker in "xo":
        x, y, tips = [], [], []
        for run, curve in runs:
            if (run.state == "diverged") == (marker == "x"):
                x.append(curve.steps[-1])
                y.append(min(curve.values[-1], top))
                tips.append(f"{group.label} seed={run.config.get('seed')}: {run.state}, last value at step {x[-1]}")
        if tips:
            (marks,) = axes.plot(x, y, marker, color=style.color, markersize=5, clip_on=False, zorder=5)
            marks.set(markeredgewidth=1.4, markerfacecolor="none")
            canvas.mark(marks, line, tips)


def _limits(means: Sequence[MeanCurve], singles: Sequence[Curve], *, bounded: bool) -> tuple[float, float, bool, bool]:
    """Bottom and top of the y axis, whether it is logarithmic, and whether anything is cut off. bounded: always linear. Values
    far above where curves begin and end are cut off, or a run that explodes would flatten all the others."""
    ends = [v for curve in means for v in (curve.high[0], curve.high[-1])] or [curve.values[0] for curve in singles]
    highest = float(max([curve.high.max() for curve in means] + [curve.values.max() for curve in singles]))
    low = float(min([curve.low.min() for curve in means] or [curve.values.min() for curve in singles]))
    middle = float(np.median(ends))
    if not bounded and low > 0 and highest > 30 * low:
        return low / 1.3, min(highest, 1000 * middle) * 1.3, True, highest > 1300 * middle
    margin = 0.04 * (highest - low) or 0.05 * abs(highest) or 1.0
    return low - margin, highest + margin, False, False
