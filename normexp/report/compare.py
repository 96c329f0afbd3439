"""Comparison of two sweeps or runs: differences in config, and of results with their confidence intervals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from normexp.config import yaml_files
from normexp.metrics import is_fraction, metric_title
from normexp.report.aggregate import Row, aggregate, describe_outcome, format_mean_std, small_sample_note
from normexp.report.groups import (
    IGNORED_KEYS,
    Grouping,
    check_key,
    differing,
    distinct_values,
    evaluations_differ,
    format_value,
    group,
    hashable,
    key_order,
)
from normexp.report.read import Collection, Run
from normexp.stats import paired_difference, welch_difference

HIDDEN_KEYS = IGNORED_KEYS - {"seed"} | {"folder"}
"""Keys that differ between runs without changing the result; a comparison does not list them."""

METHOD_NOTES = {
    "paired": "paired: Student's t over the seeds, which are the same in A and B.",
    "Welch": "Welch: Welch's t between the means of A and B, as unpaired samples.",
    "none": "No interval with one run on a side: its spread over seeds is unknown. Train both with seed=0,1,2.",
}
"""How an interval was computed, or why there is none, by method."""


@dataclass(frozen=True)
class Difference:
    """Difference B - A between the means of a group that both sides have, in the metric's unit.

    half: half the width of its confidence interval; None with too few runs. Both are None for different data sets. method: paired
    if A and B have the same seeds and differ in one key only. differing: keys in which the runs of A and B differ.
    """

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
    """Comparison of two collections of runs.

    config: values of A and B for the keys that are constant within each and differ between them. only_a, only_b: labels of
    groups that the other side lacks.

    compared: the key whose effect the differences show; None if A and B don't differ. confounders: all other keys in which they
    differ: if there are any, the comparison is not like for like.
    """

    keys: list[str]
    config: Mapping[str, tuple[Any, Any]]
    differences: list[Difference]
    only_a: list[str]
    only_b: list[str]
    compared: str | None
    confounders: list[str]


def compare(a: Collection, b: Collection, *, metric: str, by: Sequence[str] | None = None) -> Comparison:
    """Match the groups of A and B by the keys that vary within either (or by `by`), and subtract A from B."""
    runs_a, runs_b = ([run for run in side.runs if run.state != "skipped"] for side in (a, b))
    both = [*runs_a, *runs_b]
    varied = {*differing(runs_a), *differing(runs_b)}
    keys = list(by) if by is not None else [key for key in differing(both) if key in varied]
    for key in keys:
        check_key(key, both)
    keys = list(dict.fromkeys(key for runs in (runs_a, runs_b) for key in (*keys, *_group(runs, keys).keys)))
    in_a, in_b = _rows_by_values(runs_a, keys, metric), _rows_by_values(runs_b, keys, metric)
    differences = [_difference(row, in_b[values], metric) for values, row in in_a.items() if values in in_b]
    only_a = [row.group.label for values, row in in_a.items() if values not in in_b]
    only_b = [row.group.label for values, row in in_b.items() if values not in in_a]
    config = _constants(runs_a, runs_b, keys)
    compared, confounders = _split_compared({key for pair in differences for key in pair.differing})
    return Comparison(keys, config, differences, only_a, only_b, compared, confounders)


def _group(runs: Sequence[Run], keys: Sequence[str]) -> Grouping:
    return group(runs, [key for key in keys if any(key in run.config for run in runs)])


def _rows_by_values(runs: Sequence[Run], keys: Sequence[str], metric: str) -> dict[tuple[Any, ...], Row]:
    rows = aggregate(_group(runs, keys), metric, sort="name")
    return {tuple(hashable(row.group.values.get(key)) for key in keys): row for row in rows}


def show_comparison(console: Console, comparison: Comparison, names: Iterable[str], *, metric: str) -> None:
    """Print a comparison. names: of A and B."""
    console.print()
    for side, name in zip("AB", names, strict=True):
        console.print(Text.assemble((side, "bold"), f"  {name}"), soft_wrap=True)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for head in ("config", "A", "B"):
        table.add_column(head, overflow="fold")
    for key, (x, y) in comparison.config.items():
        table.add_row(*map(Text, (key, format_value(x), format_value(y))))
    console.print()
    console.print(table if comparison.config else "A and B have the same config, apart from swept keys.")
    if caveat := _caveat(comparison):
        console.print()
        console.print(Text(caveat), style="yellow")
    console.print()
    if comparison.differences:
        _print_differences(console, comparison.differences, metric)
    else:
        console.print("A and B have no group in common.")
    for side, labels in (("A", comparison.only_a), ("B", comparison.only_b)):
        if labels:
            more = f" and {len(labels) - 5} more" if len(labels) > 5 else ""
            console.print(Text(f"Only in {side}: {', '.join(labels[:5])}{more}."), style="dim")
    used = {difference.method for difference in comparison.differences if difference.value is not None}
    notes = [note for method, note in METHOD_NOTES.items() if method in used]
    if used & {"paired", "Welch"}:
        notes = ["A and B: mean ± standard deviation. B - A: ± 95 % confidence interval of each row.", *notes]
    sides = [row for difference in comparison.differences for row in (difference.a, difference.b)]
    if "none" not in used and (warning := small_sample_note(sides)):
        notes.append(warning)
    for note in notes:
        console.print(Text(note), style="dim")


def _caveat(comparison: Comparison) -> str | None:
    """A sentence on why the comparison is not like for like; None if it is."""
    compared, others = comparison.compared, comparison.confounders
    different = [key for key in (compared, *others) if key]
    if "data" in different:
        rest = ", ".join(key for key in different if key != "data")
        also = f" They also differ in {rest}." if rest else ""
        return f"Not like for like: A and B use different data sets, so B - A is not computed.{also}"
    if "eval_every" in different:
        return "Not like for like: A and B were evaluated at other steps or on other samples, so B - A is not computed."
    if not others:
        return None
    if compared is None:
        return "Not like for like: A and B come from versions of normexp with different numerics. No paired interval."
    also = f"A and B differ in {compared}, but also in {', '.join(others)}"
    return f"Not like for like: {also}. B - A is not the effect of {compared} alone. No paired interval."


def _print_differences(console: Console, differences: Sequence[Difference], metric: str) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    scale, places = (100, ".2f") if is_fraction(metric) else (1, ".3g")
    heads = [metric_title(metric), *(difference.label for difference in differences)]
    words = [word for head in heads for word in head.split()]
    # wide enough that lines break between words
    table.add_column(Text(heads[0]), overflow="fold", min_width=min(30, max(map(len, words))))
    for head in ("A", "B", "B - A"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("n", no_wrap=True)
    rows: list[list[Text | str]] = []
    ends = []
    for difference in differences:
        a, b, value, half = difference.a, difference.b, difference.value, difference.half
        signed = "-" if value is None else f"{scale * value:+{places}}"
        signed += "" if half is None else f" ± {scale * half:{places}}"
        clear = value is not None and half is not None and abs(value) > half
        counts = f"{a.n}, {b.n}" + ("" if difference.method == "none" else f" {difference.method}")
        means = format_mean_std(a, metric), format_mean_std(b, metric)
        rows.append([Text(difference.label), *means, Text(signed, style="bold" if clear else ""), counts])
        outcomes = {"A": describe_outcome(a, metric), "B": describe_outcome(b, metric)}
        ends.append("; ".join(f"{side}: {outcome}" for side, outcome in outcomes.items() if outcome))
    if any(ends):
        table.add_column("", overflow="fold")
        rows = [[*row, Text(end)] for row, end in zip(rows, ends, strict=True)]
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _difference(a: Row, b: Row, metric: str) -> Difference:
    differing = _differing_keys(a.group.runs, b.group.runs)
    if evaluations_differ(metric, [*a.group.runs, *b.group.runs]):
        return Difference(a, b, None, None, "none", [*differing, "eval_every", "eval_samples"])
    if a.mean is None or b.mean is None or "data" in differing:
        return Difference(a, b, None, None, "none", differing)
    seeds_a, seeds_b = _by_seed(a, metric), _by_seed(b, metric)
    like_for_like = not _split_compared(differing)[1]
    if like_for_like and seeds_a.keys() == seeds_b.keys() and len(seeds_a) == a.n == b.n and a.n > 1:
        common = sorted(seeds_a)
        value, half = paired_difference([seeds_a[seed] for seed in common], [seeds_b[seed] for seed in common])
        return Difference(a, b, value, half, "paired", differing)
    if a.n > 1 and b.n > 1:
        return Difference(a, b, *welch_difference(a.values, b.values), "Welch", differing)
    return Difference(a, b, b.mean - a.mean, None, "none", differing)


def _differing_keys(a: Sequence[Run], b: Sequence[Run]) -> list[str]:
    """Keys that affect the result and whose values differ between A and B.

    Keys that one side lacks don't count: they belong to another choice, such as norm.groups, or to another version of normexp.
    Neither do options of different choices, such as optim.weight_decay of sgd and adam, which have defaults of their own, except
    for the options that all norms share.
    """
    keys: list[str] = []
    in_a, in_b = ({key for run in side for key in run.config} for side in (a, b))
    shipped = {run.config.get("norm") for run in (*a, *b)} <= {
        *yaml_files.choices("norm")
    }  # an own norm is its options
    for key in sorted(in_a & in_b, key=key_order):
        choice, dot, _ = key.partition(".")
        if choice in HIDDEN_KEYS or key == "seed" or (dot and choice in keys and not (choice == "norm" and shipped)):
            continue
        x, y = ({hashable(run.config.get(key)) for run in side} for side in (a, b))
        if x != y:
            keys.append(key)
    return keys


def _split_compared(keys: Iterable[str]) -> tuple[str | None, list[str]]:
    """The key that a comparison is about, and all others. Results of other numerics are never like for like."""
    ordered = sorted(keys, key=key_order)
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
        if key.partition(".")[0] in HIDDEN_KEYS or key in keys:
            continue
        values = [distinct_values(key, side) or [None] for side in (a, b)]
        x, y = values[0][0], values[1][0]
        if max(map(len, values)) > 1 or hashable(x) == hashable(y):
            continue
        choice, dot, _ = key.partition(".")
        if dot and None in (x, y) and (choice in constants or choice in keys):
            continue  # an option of a choice, such as norm.groups, which the other side lacks
        constants[key] = (x, y)
    return constants
