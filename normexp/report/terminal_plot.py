"""Curves of a metric over steps, on the terminal: one line per group, averaged over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.text import Text

from normexp.config import ConfigError, show
from normexp.metrics import has_direction, is_fraction, metric_axis
from normexp.report.aggregate import aggregate, check_metric, ranking_metric
from normexp.report.braille import COLORS, Line, chart, fit_axis
from normexp.report.curves import average_curves, read_curves
from normexp.report.groups import Task, group, split_tasks
from normexp.report.read import Run

MAX_LINES = len(COLORS)
"""More lines can't be told apart."""

MAX_WIDTH, HEIGHT = 100, 18
"""Size of a plot in characters; it is narrower on a narrow console."""


@dataclass(frozen=True)
class Plot:
    """lines: over steps; in percent, if the tag is a fraction. notes: sentences on what the lines are."""

    tag: str
    task: str
    lines: Sequence[Line]
    notes: Sequence[str]

    def show(self, console: Console) -> None:
        """Print the plot: in color if the console has colors, in ASCII if its encoding has nothing else."""
        y_axis = fit_axis(np.concatenate([line.y for line in self.lines]), allow_log=not is_fraction(self.tag))
        scale = ", log scale" if y_axis.logarithmic else ""
        title = f"{metric_axis(self.tag)} over steps{scale}" + f", {self.task}" * bool(self.task)
        console.print()
        console.print(Text(title, style="bold"))
        color = console.color_system is not None and not console.no_color
        size = {"width": min(console.width, MAX_WIDTH), "height": HEIGHT}
        for row in chart(self.lines, **size, color=color, ascii_only=console.options.ascii_only, y_axis=y_axis):
            console.print(row, no_wrap=True, overflow="crop")
        for note in self.notes:
            console.print(Text(note), style="dim")


def read_plots(runs: Sequence[Run], tag: str, *, metric: str, by: Sequence[str] | None) -> list[Plot]:
    """Read the curves of a tag for the groups that are best by `metric`, by task. Raises ConfigError if there is no curve."""
    check_metric(tag, runs, flag="--plot")
    plots = [plot for task in split_tasks(runs, by) if (plot := _read_plot(task, tag, metric))]
    if not plots:
        near = ranking_metric(tag)
        hint = f" Try --plot {near}." if near != tag else ""
        raise ConfigError(f"--plot {show(tag)}: nothing to plot; runs have a single value of it, or none.{hint}")
    return plots


def _read_plot(task: Task, tag: str, metric: str) -> Plot | None:
    rows = aggregate(group(task.runs, task.by), metric)
    members = [run for row in rows for run in row.group.runs]
    by_run, _ = read_curves(members, {run.directory: (tag,) for run in members})
    factor = 100.0 if is_fraction(tag) else 1.0
    lines, averaged = [], False
    for row in rows:
        own = [run for run in row.group.runs if tag in by_run[run.directory]]
        own = [run for run in own if run.state == "completed"] or own
        if own:
            span = max(run.status["step"] for run in own)
            mean = average_curves([by_run[run.directory][tag] for run in own], span=span)
            states = "" if own[0].state == "completed" else f" ({own[0].state})"
            lines.append(Line(f"{row.group.label}{states}", mean.steps.astype(float), mean.mean * factor))
            averaged |= len(own) > 1
    if all(len(line.x) < 2 for line in lines):
        return None
    notes = ["Lines are means over the completed runs of a group."] if averaged else []
    if len(lines) > MAX_LINES:
        which = "best" if has_direction(metric) else "first"
        notes.append(f"Shown are the {which} {MAX_LINES} of {len(lines)} groups; --filter selects others.")
    return Plot(tag, task.label, lines[:MAX_LINES], notes)
