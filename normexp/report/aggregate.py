"""Aggregate the final metric of runs over seeds: one row per group, with mean, standard deviation and states.

Rows are ranked by validation, never by test, so that no test result is the best of many tries.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from normexp.config import ConfigError, show, suggest
from normexp.metrics import (
    DEFAULT_METRIC,
    format_metric,
    format_spread,
    higher_is_better,
    is_fraction,
    metric_heading,
    metric_title,
)
from normexp.report.groups import Group, Grouping, Task, group, sort_key, task_keys
from normexp.report.read import Run, natural
from normexp.stats import mean_std

INCOMPLETE_STATES = ("diverged", "failed", "killed", "interrupted", "running")
"""States other than completed, in the order in which they are listed."""

METRIC_WORD = re.compile("[a-z0-9]+")

MIN_SEEDS = 3
"""Of fewer runs, a standard deviation is unreliable: that of two values is below half the true one in 38 % of cases."""


@dataclass(frozen=True)
class Row:
    """A group and the final metric of its completed runs. A diverged run is counted, but not averaged. mean: None without
    values; std: of the sample (n - 1), None for fewer than two values. score: mean of the ranking metric over the same runs.
    so_far: no run has ended yet, and the values are the latest ones."""

    group: Group
    values: list[float]
    mean: float | None
    std: float | None
    score: float | None
    states: Mapping[str, int]
    so_far: bool

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def step(self) -> int:
        """The last step that any run of the group reached."""
        return int(max(run.status["step"] for run in self.group.runs))


def ranking_metric(metric: str) -> str:
    """The metric that ranks results: validation instead of test, such as val/accuracy for test/accuracy."""
    return f"val/{metric.removeprefix('test/')}" if metric.startswith("test/") else metric


def ranking_title(metric: str) -> str:
    """'validation accuracy' for test/accuracy."""
    title = metric_heading(ranking_metric(metric))
    return title[:1].lower() + title[1:]


def aggregate(grouping: Grouping, metric: str = DEFAULT_METRIC, *, sort: str = "metric") -> list[Row]:
    """One row per group, best first by the ranking metric within each task, or by `sort`: name or a grouping key. Raises
    ConfigError for any other `sort`."""
    known = ["metric", "name", *grouping.keys]
    if sort not in known:
        raise ConfigError(f"--sort {show(sort)}: rows can be sorted by {', '.join(known)}.{suggest(sort, known)}")
    tasks = task_keys([run for own in grouping.groups for run in own.runs])
    sign = -1 if higher_is_better(metric) else 1

    def rank(row: Row) -> Any:
        if sort == "name":
            return natural(row.group.label)
        if sort != "metric":
            return sort_key(sort, row.group.values[sort])
        task = [sort_key(key, row.group.values[key]) for key in tasks]
        return task, row.mean is None, row.score is None, row.so_far, sign * (row.score or 0.0)

    return sorted((_row(own, metric) for own in grouping.groups), key=rank)


def aggregate_task(task: Task, metric: str, sort: str) -> tuple[list[str], list[Row]]:
    """Grouping keys and rows of a task, sorted by the metric if it lacks the key `sort`."""
    grouping = group(task.runs, task.by)
    return grouping.keys, aggregate(grouping, metric, sort=sort if sort in ("name", *grouping.keys) else "metric")


def format_mean_std(row: Row, metric: str) -> str:
    """'97.42 % ± 0.11'; without the standard deviation for a single run, '-' for none."""
    if row.std is None:
        return format_metric(row.mean, metric)
    if is_fraction(metric):
        return f"{format_metric(row.mean, metric)} ± {100 * row.std:.2f}"
    return format_spread(row.mean or 0.0, row.std)


def describe_outcome(row: Row, metric: str) -> str:
    """Runs that are not in the mean: '2 of 3 diverged, 1 of 3 failed'; empty if all completed."""
    total = len(row.group.runs)
    parts = [f"{row.states[state]} of {total} {state}" for state in INCOMPLETE_STATES if row.states.get(state)]
    if total == 1:
        parts = [part.removeprefix("1 of 1 ") for part in parts]
    without = row.states.get("completed", 0) - (0 if row.so_far else row.n)
    if without > 0:
        problem = (
            "not reached" if metric.startswith(("convergence/steps_to_", "convergence/seconds_to_")) else "missing"
        )
        parts.append(problem if total == 1 else f"{problem} in {without} of {total} runs")
    if row.so_far and row.n:
        parts.append(f"value at step {row.step}" if row.n == 1 else f"values up to step {row.step}")
    return ", ".join(parts)


def count_states(runs: Iterable[Run], *, not_started: int = 0) -> str:
    """'36 runs: 33 completed, 2 diverged, 1 failed; 4 more not started; 1 combination skipped'."""
    states = Counter(run.state for run in runs)
    skipped = states.pop("skipped", 0)
    total = states.total()
    words = [f"{states[state]} {state}" for state in ("completed", *INCOMPLETE_STATES) if states[state]]
    parts = [f"{total} {'run' if total == 1 else 'runs'}" + (f": {', '.join(words)}" if words else "")]
    parts += [f"{not_started} more not started"] * bool(not_started)
    parts += [f"{skipped} combination{'s' * (skipped != 1)} skipped"] * bool(skipped)
    return "; ".join(parts)


def no_result(table: Sequence[Row], metric: str) -> str:
    """A sentence if no row has a value of the metric; empty if one has."""
    if not table or any(row.n for row in table):
        return ""
    runs = [run for row in table for run in row.group.runs]
    if {run.state for run in runs} != {"diverged"}:
        return f"No run has a {metric_title(metric)} yet."
    who = {1: "The run", 2: "Both runs"}.get(len(runs), f"All {len(runs)} runs")
    return f"{who} diverged, so there is no {metric_title(metric)} to report."


def check_metric(metric: str, runs: Sequence[Run], *, flag: str = "--metric") -> None:
    """Raise ConfigError, with the nearest tag, if no run has the metric. The default metric may be missing before runs end."""
    known = dict.fromkeys(tag for run in runs for tag in run.metrics)
    if metric in known or metric == DEFAULT_METRIC:
        return
    if not known:
        raise ConfigError(f"{flag} {show(metric)}: no run has logged anything yet.")
    abbreviations = {"acc": "accuracy", "valid": "val", "validation": "val"}
    words = {abbreviations.get(word, word) for word in METRIC_WORD.findall(metric.lower())}
    similar = (tag for tag in (DEFAULT_METRIC, *known) if words and words <= {*METRIC_WORD.findall(tag)})
    near = f" Did you mean {tag}?" if (tag := next(similar, None)) else suggest(metric, known)
    common = [tag for tag in known if tag.startswith(("train/", "val/", "test/", "convergence/"))]
    some = ", ".join((common or list(known))[:12])
    raise ConfigError(
        f"{flag} {show(metric)}: no run logged that metric.{near or f' Metrics are {some}, ...; --metric help lists all.'}"
    )


def small_sample_note(rows: Iterable[Row]) -> str | None:
    """A warning for fewer than MIN_SEEDS values in a row. None if all rows have more, or no values."""
    counts = {row.n for row in rows} - {0}
    if not counts or min(counts) >= MIN_SEEDS:
        return None
    if max(counts) == 1:
        return "n = 1: the spread over seeds is unknown. Train several seeds: seed=0,1,2."
    return f"n < {MIN_SEEDS}: too few seeds for a reliable standard deviation. Train more: seed=0,1,2."


def _row(group: Group, metric: str) -> Row:
    states = Counter(run.state for run in group.runs)
    so_far = not states["completed"] and not states["diverged"]
    counted = [run.metrics for run in group.runs if (run.state != "failed" if so_far else run.state == "completed")]
    counted = [metrics for metrics in counted if metrics.get(metric) is not None]
    tags = (metric, ranking_metric(metric))
    values, scores = ([value for own in counted if (value := own.get(tag)) is not None] for tag in tags)
    return Row(group, values, *mean_std(values), mean_std(scores)[0], states, so_far and bool(values))
