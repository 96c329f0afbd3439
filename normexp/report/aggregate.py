"""One row a group: mean and spread over seeds of a final metric, and what became of the runs."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from normexp.config import ConfigError, nearest, show
from normexp.report.groups import Group, Grouping, rank
from normexp.report.read import Run, natural

DEFAULT_METRIC = "test/accuracy"

ENDS = ("diverged", "failed", "killed", "interrupted", "running")
"""States that a row tells beside those that completed, in this order."""


@dataclass(frozen=True)
class Row:
    """A group, and the final metric of those of its runs that completed and have it.

    mean, std: None without values; std, the sample's (n - 1), also with one. A diverged run has no meaningful final metric, so
    it is counted and not averaged. Where no run of the group has ended, the values are those so far, and `so_far` says so.
    """

    group: Group
    values: list[float]
    mean: float | None
    std: float | None
    states: Mapping[str, int]
    so_far: bool

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def step(self) -> int:
        """The step that the furthest run of the group has come to."""
        return max(_step(run) for run in self.group.runs)


def rows(grouping: Grouping, metric: str = DEFAULT_METRIC, *, sort: str = "metric") -> list[Row]:
    """A row a group, best first; those without a value last.

    sort: `metric`, `name`, or one of the grouping's keys. Raises ConfigError for another.
    """
    check_sort(sort, grouping.keys)
    found = [_row(group, metric) for group in grouping.groups]
    if sort == "name":
        return sorted(found, key=lambda row: natural(row.group.label))
    if sort == "metric":
        sign = -1 if higher_is_better(metric) else 1
        return sorted(found, key=lambda row: (row.mean is None, row.so_far, sign * (row.mean or 0.0)))
    return sorted(found, key=lambda row: rank(sort, row.group.values[sort]))


def higher_is_better(metric: str) -> bool:
    """True for accuracies, the area under their curve, and speeds; False for losses, times, steps and all else."""
    return any(part in metric for part in ("accuracy", "area_under_curve", "per_second"))


def is_share(metric: str) -> bool:
    """Whether a metric lies in [0, 1] and is shown in percent."""
    return "accuracy" in metric or "area_under_curve" in metric


def title(metric: str) -> str:
    """'test accuracy' for test/accuracy."""
    return metric.replace("/", " ").replace("_", " ")


def number(value: float | None, metric: str) -> str:
    """A value of a metric: '97.42 %', '0.1235', or '-' for none."""
    if value is None:
        return "-"
    return f"{100 * value:.2f} %" if is_share(metric) else f"{value:.4g}"


def mean_and_std(row: Row, metric: str) -> str:
    """'97.42 % ± 0.11'; without a spread where there is one run, '-' where there is none."""
    if row.std is None:
        return number(row.mean, metric)
    spread = f"{100 * row.std:.2f}" if is_share(metric) else f"{row.std:.2g}"
    return f"{number(row.mean, metric)} ± {spread}"


def outcome(row: Row, metric: str) -> str:
    """What became of the runs that the mean leaves out: '2 of 3 diverged, 1 failed'; empty where all completed."""
    total = len(row.group.runs)
    parts = [f"{row.states[state]} of {total} {state}" for state in ENDS if row.states.get(state)]
    if total == 1:
        parts = [part.removeprefix("1 of 1 ") for part in parts]
    silent = row.states.get("completed", 0) - (0 if row.so_far else row.n)
    if silent > 0:
        parts.append(f"{silent} of {total} without {title(metric)}")
    if row.so_far and row.n:
        parts.append(f"value of step {row.step}" if row.n == 1 else f"values up to step {row.step}")
    return ", ".join(parts)


def counts(runs: Iterable[Run]) -> str:
    """'36 runs: 33 completed, 2 diverged, 1 failed'."""
    states = Counter(run.state for run in runs)
    total = states.total()
    words = [f"{states[state]} {state}" for state in ("completed", *ENDS, "skipped") if states[state]]
    return f"{total} {'run' if total == 1 else 'runs'}: {', '.join(words)}"


def check_metric(metric: str, runs: Sequence[Run]) -> None:
    """ConfigError, with the nearest tag, where no run has the metric. Before any has ended, the default one is not asked for."""
    known = dict.fromkeys(tag for run in runs for tag in run.metrics)
    if metric in known or metric == DEFAULT_METRIC:
        return
    if not known:
        raise ConfigError(f"--metric {show(metric)}: no run has logged anything yet.")
    of_the_net = [tag for tag in known if tag.startswith(("train/", "val/", "test/", "convergence/"))]
    near = nearest(metric, known) or f" There are {', '.join((of_the_net or list(known))[:12])}, ..."
    raise ConfigError(f"--metric {show(metric)}: no run has a metric of that name.{near}")


def check_sort(sort: str, keys: Sequence[str]) -> None:
    """ConfigError where rows can't be sorted by that word."""
    known = ["metric", "name", *keys]
    if sort not in known:
        raise ConfigError(f"--sort {show(sort)}: the rows can be sorted by {', '.join(known)}.{nearest(sort, known)}")


def spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation; None each where there are too few values."""
    if not values:
        return None, None
    scale = max(abs(value) for value in values) or 1.0  # sums of values near the largest float would overflow
    scaled = [value / scale for value in values]
    std = statistics.stdev(scaled) * scale if len(values) > 1 else None
    return statistics.fmean(scaled) * scale if len(values) > 1 else values[0], std


def _row(group: Group, metric: str) -> Row:
    states = Counter(run.state for run in group.runs)
    so_far = not states["completed"] and not states["diverged"]
    counted = [
        run for run in group.runs if run.state not in ("diverged", "failed") and (so_far or run.state == "completed")
    ]
    values = [value for run in counted if (value := run.metrics.get(metric)) is not None]
    return Row(group, values, *spread(values), states, so_far and bool(values))


def _step(run: Run) -> int:
    step = run.status.get("step")
    return step if isinstance(step, int) else 0
