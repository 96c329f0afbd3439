"""Data behind the figures and the page of a report, by task: groups, their results, figure layouts, and curves."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from normexp.metrics import has_direction, higher_is_better
from normexp.records import GRAD_NORM
from normexp.report.aggregate import Row, aggregate, ranking_metric, ranking_title
from normexp.report.curves import read_curves
from normexp.report.groups import Group, Grouping, Task, group, split_tasks
from normexp.report.names import PLAIN, Names
from normexp.report.panels import LineLayout, PanelGrid, Setting, best_values, line_layout, panel_grid, panels_by_line
from normexp.report.read import Collection, Curve, Run

GRADIENTS, ACTIVATION_INPUTS = f"{GRAD_NORM}/", "activation_in/"
"""Prefixes of the tags that are drawn layer by layer."""


@dataclass(frozen=True)
class Analysis:
    """Groups of the runs of a task, their results and curves, and how figures lay them out. best: the values of the panel keys
    with the best validation results. over_time, by_layer, inside: panels of curves, of gradients by layer, and of activation
    inputs. curves: by run directory and tag, finite points only, of the drawn groups."""

    task: Task
    metric: str
    grouping: Grouping
    table: list[Row]
    layout: LineLayout
    best: Setting
    over_time: PanelGrid
    by_layer: PanelGrid
    inside: PanelGrid
    curves: Mapping[Path, Mapping[str, Curve]]
    bad_lines: int
    display: Names = PLAIN

    def rows_of(self, groups: Sequence[Group]) -> list[Row]:
        """Results of some groups, in the order of the groups."""
        by_group = {id(row.group): row for row in self.table}
        return [by_group[id(own)] for own in groups]

    def last_step(self, runs: Sequence[Run]) -> int:
        """The last planned step of any of the runs; curves are thinned over this range."""
        return int(max(1, *(run.status["total_steps"] for run in runs)))

    def tagged(self, runs: Sequence[Run], tag: str) -> list[tuple[Run, Curve]]:
        """The runs that have the tag, with their curve."""
        return [(run, own[tag]) for run in runs if tag in (own := self.curves.get(run.directory, {}))]

    def points(self, groups: Sequence[Group], tags: Mapping[tuple[Any, ...], str]) -> Iterator[list[Any]]:
        """Every point of the tags, given by their labels, as a CSV row: group keys, seed, state, run, labels, step, value."""
        for own in groups:
            for labels, tag in tags.items():
                for run, curve in self.tagged(own.runs, tag):
                    head = [*own.values.values(), run.config.get("seed"), run.state, run.name, *labels]
                    for step, value in zip(curve.steps.tolist(), curve.values.tolist(), strict=True):
                        yield [*head, step, value]


def analyze_tasks(
    collection: Collection, *, metric: str, by: Sequence[str] | None, display: Names = PLAIN
) -> list[Analysis]:
    """One analysis for each task. Raises ConfigError for a key in `by` that no run has."""
    return [analyze(task, metric=metric, display=display) for task in split_tasks(collection.runs, by)]


def analyze(task: Task, *, metric: str, display: Names = PLAIN) -> Analysis:
    """Group the runs of a task, lay out figures, and read the curves in them."""
    grouping = group(task.runs, task.by)
    table = aggregate(grouping, metric)
    layout = line_layout(grouping, display=display)
    sign = 1 if higher_is_better(metric) else -1
    scores = {row.group.label: sign * row.score for row in table if row.score is not None and has_direction(metric)}
    best = Setting(best_values(grouping, layout, scores), ranking_title(metric) if scores else "")
    over_time = panel_grid(grouping.groups, layout.panel_keys, at=best, display=display)
    by_layer = panels_by_line(grouping.groups, layout, at=best, rows=3, display=display)
    inside = panels_by_line(grouping.groups, layout, at=best, rows=1, display=display)
    prefixes: dict[Path, tuple[str, ...]] = {}
    for grid, own in ((over_time, tuple(curve_tags(metric))), (by_layer, (GRADIENTS,)), (inside, (ACTIVATION_INPUTS,))):
        for run in (run for shown in grid.groups for run in shown.runs):
            prefixes[run.directory] = prefixes.get(run.directory, ()) + own
    curves = read_curves(task.runs, prefixes)  # and the number of damaged lines
    return Analysis(task, metric, grouping, table, layout, best, over_time, by_layer, inside, *curves, display)


def curve_tags(metric: str) -> list[str]:
    """Tags drawn over the steps: training loss, validation accuracy, and the metric's counterpart in validation."""
    return list(dict.fromkeys(["train/loss", "val/accuracy", ranking_metric(metric)]))
