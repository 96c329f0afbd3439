"""What all figures share: the groups with their results, which of them the figures have room for, and the curves of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from normexp.report.aggregate import Row, higher_is_better, rows
from normexp.report.curves import read_curves
from normexp.report.figures.panels import Layout, Panels, best_setting, layout, line_panels, panels
from normexp.report.groups import Group, Grouping, group
from normexp.report.read import Collection, Curve, Run

GRADIENTS, ENTERING = "grad_norm/", "activation_in/"


@dataclass(frozen=True)
class Study:
    """A collection, as figures see it. curves: by run directory and tag, finite points alone, of the groups that are drawn.

    setting: the values of the keys without a colour at which results are best. over_time, by_layer, inside: the panels of
    curves, of gradients by layer, and of what enters activations.
    """

    metric: str
    grouping: Grouping
    table: list[Row]
    plan: Layout
    setting: Mapping[str, Any]
    over_time: Panels
    by_layer: Panels
    inside: Panels
    curves: Mapping[Path, Mapping[str, Curve]]
    bad_lines: int

    def rows_of(self, groups: Sequence[Group]) -> list[Row]:
        """The results of some groups, in the groups' order."""
        found = {id(row.group): row for row in self.table}
        return [found[id(each)] for each in groups]

    def span(self, runs: Sequence[Run]) -> int:
        """The last step that any of the runs was to reach: what curves are thinned over."""
        found = [run.status.get("total_steps") for run in runs]
        return max([1, *(steps for steps in found if isinstance(steps, int) and steps < 2**63)])

    def tagged(self, runs: Sequence[Run], tag: str) -> list[tuple[Run, Curve]]:
        """The runs that have the tag, with its curve."""
        return [(run, own[tag]) for run in runs if tag in (own := self.curves.get(run.directory, {}))]


def study(collection: Collection, *, metric: str, by: Sequence[str] | None) -> Study:
    """Group the runs, find what figures have room for, and read these runs' curves, each file once.

    Raises ConfigError for a key in `by` that no run has.
    """
    grouping = group(collection.runs, by)
    table = rows(grouping, metric)
    plan = layout(grouping)
    sign = 1 if higher_is_better(metric) else -1
    setting = best_setting(grouping, plan, {row.group.label: sign * row.mean for row in table if row.mean is not None})
    over_time = panels(grouping.groups, plan.others, at=setting)
    by_layer = line_panels(grouping.groups, plan, at=setting, rows=3)
    inside = line_panels(grouping.groups, plan, at=setting, rows=1)
    wanted: dict[Path, tuple[str, ...]] = {}
    for shown, starts in (
        (over_time, tuple(curve_tags(metric))),
        (by_layer, (GRADIENTS,)),
        (inside, (ENTERING,)),
    ):
        for run in (run for each in shown.groups for run in each.runs):
            wanted[run.directory] = wanted.get(run.directory, ()) + starts
    curves, bad_lines = read_curves(collection.runs, wanted)
    return Study(metric, grouping, table, plan, setting, over_time, by_layer, inside, curves, bad_lines)


def curve_tags(metric: str) -> list[str]:
    """What is drawn against the steps: the training loss, and what is measured in validation like the metric."""
    return list(dict.fromkeys(["train/loss", "val/accuracy", metric.replace("test/", "val/")]))
