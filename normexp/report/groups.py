"""Groups of runs that differ only in their seed, and the config keys that tell groups apart."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from normexp.config import GROUPS, RESULT_INDEPENDENT_KEYS, Config, ConfigError, show, unknown_key
from normexp.metrics import MAX_PLOTTED
from normexp.norms import NORMS
from normexp.report.read import Run, natural

IGNORED_KEYS = frozenset({"seed", "log_every", "eval_every", "eval_samples", "probe", *RESULT_INDEPENDENT_KEYS})
"""Keys that never tell groups apart, because they don't change the result. The same holds for all probe.*."""

EVALUATION_KEYS = ("eval_every", "eval_samples")
"""Keys that decide when and on which samples convergence/* is measured. Configs that lack one have None."""

TASK_KEYS = ("data", "model")
"""Keys that define a task. Accuracies on different data sets can't be compared."""

KEY_ORDER = ["folder", "norm", *(field.name for field in dataclasses.fields(Config) if field.name != "norm")]


@dataclass(frozen=True)
class Group:
    """Runs with the same value of every grouping key, usually one per seed. label: such as 'norm=bn lr=0.1'."""

    values: Mapping[str, Any]
    runs: list[Run]
    label: str


@dataclass(frozen=True)
class Task:
    """Runs on the same data set, and with the same model if both differ. Only these are averaged and ranked together. label:
    such as 'data=mnist model=cnn'; empty if there is only one task. by: the requested grouping keys that its runs have."""

    label: str
    runs: list[Run]
    by: list[str] | None


@dataclass(frozen=True)
class Grouping:
    """Groups, sorted by their values. keys: the norm first, then other config groups, then single keys. Not in any group:
    `skipped` runs, and those that repeat the config and seed of another (`repeated`: their number)."""

    keys: list[str]
    groups: list[Group]
    skipped: list[Run]
    repeated: int


def group(runs: Sequence[Run], by: Sequence[str] | None = None) -> Grouping:
    """Group runs by the keys in `by` (default: those that differ). Raises ConfigError for an unknown key. Runs of different
    tasks or numerics are never averaged, whatever `by` says."""
    tried = [run for run in runs if run.state != "skipped"]
    counted = _distinct(tried)
    keys = differing(counted) if by is None else list(dict.fromkeys(by))
    for key in keys:
        check_key(key, runs)
    numerics = ["numerics"] if len(distinct_values("numerics", counted)) > 1 else []
    keys += [key for key in (*task_keys(counted), *numerics) if key not in keys]
    groups = []
    for same in _by_values(counted, keys).values():
        values = {key: same[0].config.get(key) for key in keys}
        groups.append(Group(values, same, label(values)))
    groups.sort(key=lambda group: tuple(sort_key(key, value) for key, value in group.values.items()))
    skipped = [run for run in runs if run.state == "skipped"]
    return Grouping(keys, groups, skipped, len(tried) - len(counted))


def task_keys(runs: Sequence[Run]) -> list[str]:
    """The keys by which tasks differ: none if all runs are on one data set, even if their models differ."""
    keys = [key for key in TASK_KEYS if len(distinct_values(key, runs)) > 1]
    return keys if "data" in keys else []


def split_tasks(runs: Sequence[Run], by: Sequence[str] | None = None) -> list[Task]:
    """Split runs by task. Raises ConfigError for a key in `by` that no run has."""
    for key in by or ():
        check_key(key, runs)
    tried = [run for run in runs if run.state != "skipped"]
    if not (keys := task_keys(tried)):
        return [Task("", list(runs), None if by is None else list(by))]
    tasks = []
    for values, own in sorted(_by_values(tried, keys).items(), key=lambda item: list(map(sort_key, keys, item[0]))):
        present = None if by is None else [key for key in by if any(key in run.config for run in own)]
        tasks.append(Task(label(dict(zip(keys, values, strict=True))), own, present))
    return tasks


def _by_values(runs: Iterable[Run], keys: Sequence[str]) -> dict[tuple[Any, ...], list[Run]]:
    members: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        members.setdefault(tuple(hashable(run.config.get(key)) for key in keys), []).append(run)
    return members


def _distinct(runs: Sequence[Run]) -> list[Run]:
    """One run per config and seed, preferably one that ended. Their numbers are the same, so the others add no information."""
    finished = ("completed", "diverged")
    kept: dict[Any, Run] = {}
    for run in runs:
        settings = [item for item in run.config.items() if not {item[0], item[0].partition(".")[0]} & IGNORED_KEYS]
        shared = sorted(((key, hashable(value)) for key, value in settings), key=str)
        which = (tuple(shared), hashable(run.config.get("seed"))) if run.config else run.directory
        if which not in kept or (kept[which].state not in finished and run.state in finished):
            kept[which] = run
    return list(kept.values())


def differing(runs: Sequence[Run]) -> list[str]:
    """Keys in which runs differ, sorted. An option of a choice (norm.groups of norm=gn) counts only if it has two values among
    runs with the same choice."""
    keys: set[str] = set()
    first: dict[tuple[str, Any], Any] = {}
    for run in runs:
        for key, value in run.config.items():
            group, dot, _ = key.partition(".")
            if key in keys or {key, group} & IGNORED_KEYS:
                continue
            choice = hashable(run.config.get(group)) if dot else None
            this = hashable(value)
            if first.setdefault((key, choice), this) != this:
                keys.add(key)
    return sorted(keys, key=key_order)


def key_order(key: str) -> tuple[bool, int, str]:
    """Sort key: config groups before single keys, options of a choice after their group."""
    head = key.partition(".")[0]
    position = KEY_ORDER.index(head) if head in KEY_ORDER else len(KEY_ORDER)
    return head not in ("folder", *GROUPS), position, key


def evaluations_differ(metric: str, runs: Iterable[Run]) -> bool:
    """Whether a metric of the runs was measured in different ways, so that its values don't compare."""
    return metric.startswith("convergence/") and len({tuple(map(run.config.get, EVALUATION_KEYS)) for run in runs}) > 1


def check_key(key: str, runs: Sequence[Run]) -> None:
    """Raise ConfigError, with the nearest key, if no run's config has the key."""
    if not any(key in run.config for run in runs):
        raise ConfigError(unknown_key(key, dict.fromkeys(known for run in runs for known in run.config)))


def hashable(value: Any) -> Any:
    """Convert a config value to a hashable one. Equal values stay equal."""
    if isinstance(value, list | tuple):
        return tuple(map(hashable, value))
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    return value if isinstance(value, float | int | str | bool | None) else str(value)


def sort_key(key: str, value: Any) -> tuple[Any, ...]:
    """Sort key for the values of a config key: norms in registry order, numbers by size, strings naturally, None last."""
    value = hashable(value)
    if key == "norm" and value in NORMS:
        return (0, list(NORMS).index(value), [])
    if value is None:
        return (3, 0, [])
    if isinstance(value, bool | int | float):
        return (1, value, [])
    return (2, 0, natural(format_value(value)))


def is_number(value: Any) -> bool:
    """Whether a config value can be drawn on an axis."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_PLOTTED


def format_value(value: Any) -> str:
    """Format a value for labels and tables: 0.1, 100, bn, [16,32]; '-' for an option that the choice lacks."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return show(f"[{','.join(map(format_value, value))}]" if isinstance(value, list | tuple) else value)


def label(values: Mapping[str, Any]) -> str:
    """'norm=bn lr=0.1', without missing values; 'all runs' if there are no keys."""
    return " ".join(f"{key}={format_value(value)}" for key, value in values.items() if value is not None) or "all runs"


def distinct_values(key: str, runs: Iterable[Run]) -> list[Any]:
    """Distinct values of a key among runs, sorted, without None."""
    values = {hashable(value): value for run in runs if (value := run.config.get(key)) is not None}
    return sorted(values.values(), key=lambda value: sort_key(key, value))


def choices(groups: Sequence[Group], key: str) -> list[Any]:
    """Distinct values of a key among groups, sorted."""
    return sorted({hashable(group.values.get(key)) for group in groups}, key=lambda value: sort_key(key, value))
