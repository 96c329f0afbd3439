"""Runs that differ in nothing but their seed, as groups, and the keys that tell the groups apart."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from normexp.config import GROUPS, NOT_OF_THE_RESULT, Config, ConfigError, show, unknown_key
from normexp.norms import NORMS
from normexp.report.read import Run, natural

NOT_COMPARED = frozenset({"seed", "log_every", "eval_every", "probe", *NOT_OF_THE_RESULT})
"""Keys that never tell groups apart: they change where and how a run is made or watched, not what it is. So do all probe.*."""

ORDER = ["folder", "norm", *(field.name for field in dataclasses.fields(Config) if field.name != "norm")]


@dataclass(frozen=True)
class Group:
    """Runs that share the value of each grouping key: one a seed, as a rule. Skipped ones are not among them."""

    values: Mapping[str, Any]
    runs: list[Run]
    label: str
    """'norm=bn lr=0.1': the same words everywhere."""


@dataclass(frozen=True)
class Grouping:
    """Groups in the order of their values, under keys in a fixed order: the norm first, then other groups of the config."""

    keys: list[str]
    groups: list[Group]
    skipped: list[Run]
    repeated: int
    """How many runs have the config and the seed of another one: they measure the same once more, and are in no group."""


def group(runs: Sequence[Run], by: Sequence[str] | None = None) -> Grouping:
    """Group runs by the keys in `by`, or else by those in which they differ; always by `numerics` if that differs.

    Raises ConfigError for a key that no run has.
    """
    tried = [run for run in runs if run.state != "skipped"]
    counted = _distinct(tried)
    keys = differing(counted) if by is None else list(dict.fromkeys(by))
    for key in keys:
        check_key(key, runs)
    if "numerics" not in keys and "numerics" in differing(counted):  # never averaged, whatever is asked for
        keys.append("numerics")
    members: dict[tuple[Any, ...], list[Run]] = {}
    for run in counted:
        members.setdefault(tuple(comparable(run.config.get(key)) for key in keys), []).append(run)
    groups = []
    for same in members.values():
        values = {key: same[0].config.get(key) for key in keys}
        groups.append(Group(values, same, label(values)))
    groups.sort(key=lambda group: tuple(rank(key, value) for key, value in group.values.items()))
    skipped = [run for run in runs if run.state == "skipped"]
    return Grouping(keys, groups, skipped, len(tried) - len(counted))


def _distinct(runs: Sequence[Run]) -> list[Run]:
    """One run of each config and seed, one that ended where there is one: the same config and seed give the same numbers, so that
    counting them twice would make a spread look too small."""
    kept: dict[Any, Run] = {}
    for run in runs:
        shared = [
            (key, comparable(value)) for key, value in run.config.items() if key.partition(".")[0] not in NOT_COMPARED
        ]
        which = (tuple(sorted(shared, key=str)), comparable(run.config.get("seed"))) if run.config else run.directory
        if which not in kept or (kept[which].state not in ENDS and run.state in ENDS):
            kept[which] = run
    return list(kept.values())


ENDS = ("completed", "diverged")


def differing(runs: Sequence[Run]) -> list[str]:
    """The keys that tell runs apart, in order.

    A key of a choice (norm.groups of norm=gn) is one of them only if it has two values among runs that share the choice;
    that it is missing elsewhere tells nothing.
    """
    found: set[str] = set()
    first: dict[tuple[str, Any], Any] = {}
    for run in runs:
        for key, value in run.config.items():
            group, dot, _ = key.partition(".")
            if key in found or group in NOT_COMPARED:
                continue
            choice = comparable(run.config.get(group)) if dot else None
            this = comparable(value)
            if first.setdefault((key, choice), this) != this:
                found.add(key)
    return sorted(found, key=_place)


def check_key(key: str, runs: Sequence[Run]) -> None:
    """ConfigError, with the nearest key, where no run's config has the key."""
    if not any(key in run.config for run in runs):
        raise ConfigError(unknown_key(key, dict.fromkeys(known for run in runs for known in run.config)))


def comparable(value: Any) -> Any:
    """A value of a config, as something that can be a key of a dictionary: equal for equal values."""
    if isinstance(value, list | tuple):
        return tuple(comparable(item) for item in value)
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if isinstance(value, float | int | str | bool | None):
        return value
    return str(value)


def rank(key: str, value: Any) -> tuple[Any, ...]:
    """A sorting key for the values of one key: norms in their usual order, numbers by size, texts naturally, None last."""
    value = comparable(value)
    if key == "norm" and value in NORMS:
        return (0, list(NORMS).index(value), [])
    if value is None:
        return (3, 0, [])
    if isinstance(value, bool | int | float):
        return (1, value, [])
    return (2, 0, natural(word(value)))


def word(value: Any) -> str:
    """A value as it stands in labels and tables: 0.1, 100, bn, [16,32]; '-' for what a choice does not have."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return show("[" + ",".join(word(item) for item in value) + "]")
    return show(value)


def label(values: Mapping[str, Any]) -> str:
    """'norm=bn lr=0.1', without what is missing; 'all runs' where nothing tells groups apart."""
    return " ".join(f"{key}={word(value)}" for key, value in values.items() if value is not None) or "all runs"


def _place(key: str) -> tuple[int, int, str]:
    """Groups of the config before single keys, each key of a choice behind its group."""
    head = key.partition(".")[0]
    return (
        0 if head in ("folder", *GROUPS) else 1,
        ORDER.index(head) if head in ORDER else len(ORDER),
        key,
    )


def values_of(key: str, runs: Iterable[Run]) -> list[Any]:
    """The values that a key has, each once, in order; without None."""
    found = {comparable(run.config.get(key)): run.config.get(key) for run in runs if run.config.get(key) is not None}
    return sorted(found.values(), key=lambda value: rank(key, value))
