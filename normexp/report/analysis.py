"""Data behind the figures and the page of a report: groups and their results, the layout of the figures, and curves."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from normexp.metrics import higher_is_better
from normexp.records import GRAD_NORM
from normexp.report.aggregate import Row, aggregate
from normexp.report.curves import read_curves
from normexp.report.groups import Group, Grouping, group
from normexp.report.panels import LineLayout, PanelGrid, best_setting, line_layout, panel_grid, panels_by_line
from normexp.report.read import Collection, Curve, Run

GRADIENTS, ACTIVATION_INPUTS = f"{GRAD_NORM}/", "activation_in/"
"""Prefixes of the tags that are drawn layer by layer."""


@dataclass(frozen=True)
class Analysis:
    """Groups of a collection, their results and curves, and how figures lay them out.

    best: the values of the panel keys with the best results. over_time, by_layer, inside: panels of curves, of gradients by
    layer, and of activation inputs. curves: by run directory and tag, finite points only, for the groups that are drawn.
    """

    metric: str
    grouping: Grouping
    table: list[Row]
    layout: LineLayout
    best: Mapping[str, Any]
    over_time: PanelGrid
    by_layer: PanelGrid
    inside: PanelGrid
    curves: Mapping[Path, Mapping[str, Curve]]
    bad_lines: int

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


def analyze(collection: Collection, *, metric: str, by: Sequence[str] | None) -> Analysis:
    """Group the runs, lay out figures, and read the curves in them. Raises ConfigError for a key in `by` that no run has."""
    grouping = group(collection.runs, by)
    table = aggregate(grouping, metric)
    layout = line_layout(grouping)
    sign = 1 if higher_is_better(metric) else -1
    best = best_setting(grouping, layout, {row.group.label: sign * row.mean for row in table if row.mean is not None})
    over_time = panel_grid(grouping.groups, layout.panel_keys, at=best)
    by_layer = panels_by_line(grouping.groups, layout, at=best, rows=3)
    inside = panels_by_line(grouping.groups, layout, at=best, rows=1)
    prefixes: dict[Path, tuple[str, ...]] = {}
    for grid, own in ((over_time, tuple(curve_tags(metric))), (by_layer, (GRADIENTS,)), (inside, (ACTIVATION_INPUTS,))):
        for run in (run for shown in grid.groups for run in shown.runs):
            prefixes[run.directory] = prefixes.get(run.directory, ()) + own
    curves, bad_lines = read_curves(collection.runs, prefixes)
    return Analysis(metric, grouping, table, layout, best, over_time, by_layer, inside, curves, bad_lines)


def curve_tags(metric: str) -> list[str]:
    """Tags drawn over the steps: training loss, validation accuracy, and the metric's counterpart in validation."""
    return list(dict.fromkeys(["train/loss", "val/accuracy", metric.replace("test/", "val/")]))
