"""Comparison of two sweeps or runs: differences in config, and of results with their confidence intervals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from normexp.config import yaml_files
from normexp.report import groups
from normexp.report.aggregate import Row, aggregate
from normexp.report.read import Run
from normexp.stats import paired_difference, welch_difference

HIDDEN_KEYS = groups.IGNORED_KEYS - {"seed"} | {"folder"}
"""Keys that differ between runs without changing the result; a comparison does not list them."""


@dataclass(frozen=True)
class Difference:
    """Difference B - A between the means of a group that both sides have, in the metric's unit. half: half the width of its
    confidence interval; None with too few runs. Both are None for different data sets. method: paired if A and B have the same
    seeds and differ in one key only. differing: keys in which the runs of A and B differ."""

    a: Row
    b: Row
    value: float | None
    half: float | None
    method: Literal["paired", "Welch", "none"]
    differing: list[str]

    @property
    def label(self) -> str:
        return (self.a if self.a.group.values else self.b).group.label


@dataclass(frozen=True)
class Comparison:
    """Comparison of two collections of runs. config: values of A and B for the keys that are constant within each and differ
    between them. only_a, only_b: labels of groups that the other side lacks. compared: the key whose effect the differences
    show; None if A and B don't differ. confounders: all other keys in which they differ: if there are any, the comparison is
    not like for like."""

    keys: list[str]
    config: Mapping[str, tuple[Any, Any]]
    differences: list[Difference]
    only_a: list[str]
    only_b: list[str]
    compared: str | None
    confounders: list[str]


def compare(a: Sequence[Run], b: Sequence[Run], *, metric: str, by: Sequence[str] | None = None) -> Comparison:
    """Match the groups of A and B by the keys that vary within either (or by `by`), and subtract A from B."""
    runs_a, runs_b = ([run for run in side if run.state != "skipped"] for side in (a, b))
    both = [*runs_a, *runs_b]
    varied = {*groups.differing(runs_a), *groups.differing(runs_b)}
    keys = list(by) if by is not None else [key for key in groups.differing(both) if key in varied]
    keys = list(dict.fromkeys(key for runs in (runs_a, runs_b) for key in (*keys, *_group(runs, keys).keys)))
    in_a, in_b = (_rows_by_values(runs, keys, metric) for runs in (runs_a, runs_b))
    differences = [_difference(row, in_b[values], metric) for values, row in in_a.items() if values in in_b]
    only_a = [row.group.label for values, row in in_a.items() if values not in in_b]
    only_b = [row.group.label for values, row in in_b.items() if values not in in_a]
    compared, confounders = _split_compared({key for pair in differences for key in pair.differing})
    return Comparison(keys, _constants(runs_a, runs_b, keys), differences, only_a, only_b, compared, confounders)


def _group(runs: Sequence[Run], keys: Sequence[str]) -> groups.Grouping:
    return groups.group(runs, [key for key in keys if any(key in run.config for run in runs)])


def _rows_by_values(runs: Sequence[Run], keys: Sequence[str], metric: str) -> dict[tuple[Any, ...], Row]:
    rows = aggregate(_group(runs, keys), metric, sort="name")
    return {tuple(groups.hashable(row.group.values.get(key)) for key in keys): row for row in rows}


def _difference(a: Row, b: Row, metric: str) -> Difference:
    differing = _differing_keys(a.group.runs, b.group.runs)
    if groups.evaluations_differ(metric, [*a.group.runs, *b.group.runs]):
        differing += ["eval_every", "eval_samples"]
    if a.mean is None or b.mean is None or {"data", "eval_every"} & {*differing}:
        return Difference(a, b, None, None, "none", differing)
    seeds_a, seeds_b = _by_seed(a, metric), _by_seed(b, metric)
    like_for_like = not _split_compared(differing)[1]
    if like_for_like and seeds_a.keys() == seeds_b.keys() and len(seeds_a) == a.n == b.n and a.n > 1:
        pairs = [[seeds[seed] for seed in sorted(seeds)] for seeds in (seeds_a, seeds_b)]
        return Difference(a, b, *paired_difference(*pairs), "paired", differing)
    if a.n > 1 and b.n > 1:
        return Difference(a, b, *welch_difference(a.values, b.values), "Welch", differing)
    return Difference(a, b, b.mean - a.mean, None, "none", differing)


def _differing_keys(a: Sequence[Run], b: Sequence[Run]) -> list[str]:
    """Keys that affect the result and whose values differ between A and B. Keys that one side lacks don't count: they belong to
    another choice, such as norm.groups, or to another version of normexp. Neither do options of different choices, such as
    optim.weight_decay of sgd and adam, which have defaults of their own, except for the options that all norms share."""
    keys: list[str] = []
    in_a, in_b = ({key for run in side for key in run.config} for side in (a, b))
    # only its options distinguish a norm of one's own from its base
    shipped = {run.config.get("norm") for run in (*a, *b)} <= {*yaml_files.choices("norm")}
    for key in sorted(in_a & in_b, key=groups.key_order):
        choice, dot, _ = key.partition(".")
        of_another_choice = dot and choice in keys and not (choice == "norm" and shipped)
        x, y = ({groups.hashable(run.config.get(key)) for run in side} for side in (a, b))
        if x != y and not {key, choice} & {*HIDDEN_KEYS, "seed"} and not of_another_choice:
            keys.append(key)
    return keys


def _split_compared(keys: Iterable[str]) -> tuple[str | None, list[str]]:
    """The key that a comparison is about, and all others. Results of other numerics are never like for like."""
    ordered = sorted(keys, key=groups.key_order)
    compared = next((key for key in ordered if key != "numerics"), None)
    return compared, [key for key in ordered if key != compared]


def _by_seed(row: Row, metric: str) -> dict[int, float]:
    """Values of the completed runs by seed."""
    completed = [run for run in row.group.runs if run.state == "completed"]
    pairs = [(run.config.get("seed"), run.metrics.get(metric)) for run in completed]
    return {seed: value for seed, value in pairs if isinstance(seed, int) and value is not None}


def _constants(a: Sequence[Run], b: Sequence[Run], keys: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """Keys, other than `keys`, that have one value in A and another in B, with both values."""
    constants = {}
    for key in dict.fromkeys(key for run in (*a, *b) for key in run.config):
        choice, dot, _ = key.partition(".")
        if {key, choice} & HIDDEN_KEYS or key in keys:
            continue
        lacking = not all(any(key in run.config for run in side) for side in (a, b))
        if dot and lacking and (choice in constants or choice in keys):
            continue  # an option of a choice, such as norm.groups, which the other side lacks
        (x, *more_x), (y, *more_y) = (groups.distinct_values(key, side) or [None] for side in (a, b))
        if groups.hashable(x) != groups.hashable(y) and not (more_x or more_y):
            constants[key] = (x, y)
    return constants
