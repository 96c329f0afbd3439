"""Convergence: a scalar against the steps, averaged over seeds, a panel for each value of what else was swept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from normexp.plotting.colours import Look, looks
from normexp.plotting.style import Canvas, Drawn, canvas, heading, log_axis, outer_labels, sign, stem
from normexp.report.aggregate import is_share, number, title
from normexp.report.curves import Average, average, thin
from normexp.report.figures.study import Study
from normexp.report.groups import Group
from normexp.report.read import Curve, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def curves(study: Study, tag: str) -> Drawn | None:
    """The figure of one tag; None where no run has it."""
    shown = {id(group): study.tagged(group.runs, tag) for group in study.over_time.groups}
    if not any(shown.values()):
        return None
    styles = looks(study.plan)
    factor = 100.0 if is_share(tag) else 1.0
    averages, singles = {}, {}
    for group in study.over_time.groups:
        span = study.span(group.runs)
        completed = [curve for run, curve in shown[id(group)] if run.state == "completed"]
        if completed:
            averages[id(group)] = average([_scaled(curve, factor) for curve in completed], span=span)
        singles[id(group)] = [
            (run, thin(_scaled(curve, factor), span=span))
            for run, curve in shown[id(group)]
            if run.state != "completed"
        ]
    bottom, top, logarithmic, cut = _limits(list(averages.values()), [c for runs in singles.values() for _, c in runs])
    states = {run.state for runs in singles.values() for run, _ in runs}
    used = sorted({study.plan.line(group) for group in study.over_time.groups if shown[id(group)]})
    legend: list[Any] = [styles[line] for line in used] if study.plan.colours else []
    legend += [sign("x", "diverged")] if "diverged" in states else []
    legend += [sign("o", "unfinished")] if states - {"diverged"} else []
    drawn = canvas(study.over_time.panels, legend=legend)
    for panel in study.over_time.panels:
        axes = drawn.axes[panel.row, panel.column]
        for group in panel.groups:
            line = study.plan.line(group)
            _singles(drawn, axes, group.label, singles[id(group)], look=styles[line], line=line, top=top)
            if id(group) in averages:
                _average(drawn, axes, group, averages[id(group)], look=styles[line], line=line, tag=tag)
    axes = next(iter(drawn.axes.values()))
    axes.set_ylim(bottom, top)
    axes.set_xlim(left=0)
    for each in drawn.axes.values() if logarithmic else ():
        each.set_yscale("log")
        log_axis(each.yaxis)
    outer_labels(drawn, x="step", y=title(tag) + (" (%)" if is_share(tag) else ""))
    repeated = any(len(group.runs) > 1 for group in study.over_time.groups)
    caption = [
        "Line: mean over the completed runs of a group; band: from the smallest to the largest of them."
    ] * repeated
    if states:
        caption.append(
            "Thin lines: single runs that did not complete; a cross: it diverged there; an open circle: so far."
        )
    if cut:
        caption.append("Peaks far above where the curves begin and end are cut off.")
    return Drawn(
        name=stem(f"curve-{tag}"),
        title=f"{heading(tag)} over the steps",
        caption=" ".join(caption),
        figure=drawn.figure,
        header=[*study.grouping.keys, "seed", "state", "run", "step", tag],
        rows=(
            [*group.values.values(), run.config.get("seed"), run.state, run.name, step, value]
            for group in study.over_time.groups
            for run, curve in shown[id(group)]
            for step, value in zip(curve.steps.tolist(), curve.values.tolist(), strict=True)
        ),
        tips=drawn.tips,
        notes=study.over_time.notes,
    )


def _average(drawn: Canvas, axes: Axes, group: Group, band: Average, *, look: Look, line: int, tag: str) -> None:
    if (band.high > band.low).any():
        area = axes.fill_between(band.steps, band.low, band.high, color=look.colour, alpha=0.18, linewidth=0)
        drawn.mark(area, line)
    (path,) = axes.plot(band.steps, band.mean, color=look.colour, linestyle=look.dashes)
    factor = 100.0 if is_share(tag) else 1.0
    tip = f"{group.label}: {number(band.mean[-1] / factor, tag)} at step {band.steps[-1]}"
    drawn.mark(path, line, [tip])
    if len(band.steps) == 1:
        path.set_marker(look.marker)


def _singles(
    drawn: Canvas, axes: Axes, label: str, runs: Sequence[tuple[Run, Curve]], *, look: Look, line: int, top: float
) -> None:
    """All the runs of a group that did not complete, as one artist: there may be hundreds."""
    gap = [np.nan]
    if runs:
        steps = np.concatenate([part for _, curve in runs for part in (curve.steps, gap)])
        values = np.concatenate([part for _, curve in runs for part in (curve.values, gap)])
        (path,) = axes.plot(steps, values, color=look.colour, linewidth=0.7, alpha=0.65)
        drawn.mark(path, line)
    for diverged, marker in ((True, "x"), (False, "o")):
        ends = [(run, curve) for run, curve in runs if (run.state == "diverged") == diverged]
        if ends:
            (marks,) = axes.plot(
                [curve.steps[-1] for _, curve in ends],
                [min(curve.values[-1], top) for _, curve in ends],
                color=look.colour,
                linestyle="none",
                marker=marker,
                markersize=5,
                markeredgewidth=1.4,
                markerfacecolor="none",
                clip_on=False,
                zorder=5,
            )
            drawn.mark(
                marks,
                line,
                [
                    f"{label} seed={run.config.get('seed')}: {run.state}, last value at step {c.steps[-1]}"
                    for run, c in ends
                ],
            )


def _limits(averages: Sequence[Average], singles: Sequence[Curve]) -> tuple[float, float, bool, bool]:
    """Bottom and top of the axis, whether it is logarithmic, and whether something is cut off.

    What is far above where curves begin and end is cut off, so that what explodes doesn't flatten all else.
    """
    calm = [v for a in averages for v in (a.high[0], a.high[-1])] or [c.values[0] for c in singles]
    highest = max(a.high.max() for a in averages) if averages else max(c.values.max() for c in singles)
    highest = max([highest, *(c.values.max() for c in singles)])
    low = min(a.low.min() for a in averages) if averages else min(c.values.min() for c in singles)
    low, middle, highest = float(low), float(np.median(calm)), float(highest)
    if low > 0 and highest > 30 * low:
        return low / 1.3, min(highest, 1000 * middle) * 1.3, True, highest > 1300 * middle
    room = 0.04 * (highest - low) or 0.05 * abs(highest) or 1.0
    return low - room, highest + room, False, False


def _scaled(curve: Curve, factor: float) -> Curve:
    return Curve(curve.steps, curve.values * factor)
