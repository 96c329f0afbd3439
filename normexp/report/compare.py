"""Comparison of two sweeps or runs: differences in config, and of results with their confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from normexp.report.aggregate import Row, aggregate, describe_outcome, format_mean_std
from normexp.report.groups import check_key, differing, distinct_values, format_value, group, hashable
from normexp.report.metrics import is_fraction, metric_title
from normexp.report.read import Collection, Run
from normexp.stats import paired_difference, welch_difference

Method = Literal["paired", "Welch", "none"]

LOCATION_KEYS = frozenset({"name", "runs_dir", "folder"})
"""Keys that differ between any two runs, because they locate them."""


@dataclass(frozen=True)
class Difference:
    """Difference B - A between the means of a group that both sides have, in the metric's unit.

    half: half the width of its confidence interval; None with too few runs. method: paired if A and B have the same seeds.
    """

    a: Row
    b: Row
    value: float | None
    half: float | None
    method: Method

    @property
    def label(self) -> str:
        return (self.a if self.a.group.values else self.b).group.label


@dataclass(frozen=True)
class Comparison:
    """Comparison of two collections of runs.

    config: values of A and B for every key that is constant within each and differs between them. only_a, only_b: labels of
    groups that the other side lacks.
    """

    keys: list[str]
    config: Mapping[str, tuple[Any, Any]]
    differences: list[Difference]
    only_a: list[str]
    only_b: list[str]


def compare(a: Collection, b: Collection, *, metric: str, by: Sequence[str] | None = None) -> Comparison:
    """Match the groups of A and B by the keys that vary within either (or by `by`), and subtract A from B."""
    counted = [[run for run in side.runs if run.state != "skipped"] for side in (a, b)]
    varied = [set(differing(side)) for side in counted]
    both = [*counted[0], *counted[1]]
    keys = list(by) if by is not None else [key for key in differing(both) if key in varied[0] | varied[1]]
    for key in keys:
        check_key(key, both)
    present = [[key for key in keys if any(key in run.config for run in side)] for side in counted]
    sides = [
        {
            tuple(hashable(row.group.values.get(key)) for key in keys): row
            for row in aggregate(group(side, own), metric, sort="name")
        }
        for side, own in zip(counted, present, strict=True)
    ]
    pairs = [(row, sides[1][values]) for values, row in sides[0].items() if values in sides[1]]
    return Comparison(
        keys,
        _constants(counted[0], counted[1], keys),
        [_difference(x, y, metric) for x, y in pairs],
        [row.group.label for values, row in sides[0].items() if values not in sides[1]],
        [row.group.label for values, row in sides[1].items() if values not in sides[0]],
    )


def show_comparison(console: Console, comparison: Comparison, names: tuple[str, str], *, metric: str) -> None:
    """Print a comparison. names: of A and B."""
    console.print()
    for side, name in zip("AB", names, strict=True):
        console.print(Text.assemble((side, "bold"), f"  {name}"), soft_wrap=True, highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for head in ("config", "A", "B"):
        table.add_column(head, overflow="fold")
    for key, (x, y) in comparison.config.items():
        table.add_row(*map(Text, (key, format_value(x), format_value(y))))
    console.print()
    console.print(
        table if comparison.config else "They have one config, but for what each of them sweeps.", highlight=False
    )
    console.print()
    if comparison.differences:
        _print_differences(console, comparison.differences, metric)
    else:
        console.print("No group of A has a counterpart in B, so there is nothing to subtract.")
    for side, labels in (("A", comparison.only_a), ("B", comparison.only_b)):
        if labels:
            more = f" and {len(labels) - 5} more" if len(labels) > 5 else ""
            console.print(Text(f"Only in {side}: {', '.join(labels[:5])}{more}."), style="dim", highlight=False)
    for note in _methods(comparison.differences):
        console.print(Text(note), style="dim", highlight=False)


def _print_differences(console: Console, differences: Sequence[Difference], metric: str) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    ends = [_ends(difference, metric) for difference in differences]
    labels = [difference.label for difference in differences]
    longest = max(len(part) for text in (metric_title(metric), *labels) for part in text.split())
    # wide enough that lines break between words
    table.add_column(Text(metric_title(metric)), overflow="fold", min_width=min(30, longest))
    for head in ("A", "B", "B - A"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("n", no_wrap=True)
    if any(ends):
        table.add_column("", overflow="fold")
    for label, difference, end in zip(labels, differences, ends, strict=True):
        clear = difference.half is not None and difference.value is not None and abs(difference.value) > difference.half
        a, b = difference.a, difference.b
        table.add_row(
            Text(label),
            format_mean_std(a, metric),
            format_mean_std(b, metric),
            Text(_signed(difference, metric), style="bold" if clear else ""),
            f"{a.n}, {b.n}" + {"paired": " paired", "Welch": " Welch", "none": ""}[difference.method],
            *([Text(end)] if any(ends) else []),
        )
    console.print(table, highlight=False)


def _signed(difference: Difference, metric: str) -> str:
    if difference.value is None:
        return "-"
    scale, places = (100, ".2f") if is_fraction(metric) else (1, ".3g")
    text = f"{scale * difference.value:+{places}}"
    return text if difference.half is None else f"{text} ± {scale * difference.half:{places}}"


def _ends(difference: Difference, metric: str) -> str:
    sides = (("A", difference.a), ("B", difference.b))
    return "; ".join(f"{side}: {text}" for side, row in sides if (text := describe_outcome(row, metric)))


def _methods(differences: Sequence[Difference]) -> list[str]:
    """Footnotes on how the intervals were computed, or why there is none."""
    used = {difference.method for difference in differences if difference.value is not None}
    notes = []
    if used & {"paired", "Welch"}:
        notes.append(
            "A and B: mean ± standard deviation. B - A: ± is the 95 % confidence interval, of each row for itself."
        )
    if "paired" in used:
        notes.append("paired: over the seeds, which are the same in A and B (Student's t).")
    if "Welch" in used:
        notes.append("Welch: the seeds of A and B are not the same, so their means are compared (Welch's t).")
    if "none" in used:
        notes.append(
            "No interval where a side has one run: its spread over seeds is unknown. Give both sides seed=0,1,2."
        )
    return notes


def _difference(a: Row, b: Row, metric: str) -> Difference:
    if a.mean is None or b.mean is None:
        return Difference(a, b, None, None, "none")
    seeds_a, seeds_b = _by_seed(a, metric), _by_seed(b, metric)
    if seeds_a.keys() == seeds_b.keys() and len(seeds_a) == a.n == b.n and a.n > 1:
        common = sorted(seeds_a)
        value, half = paired_difference([seeds_a[seed] for seed in common], [seeds_b[seed] for seed in common])
        return Difference(a, b, value, half, "paired")
    if a.n > 1 and b.n > 1:
        return Difference(a, b, *welch_difference(a.values, b.values), "Welch")
    return Difference(a, b, b.mean - a.mean, None, "none")


def _by_seed(row: Row, metric: str) -> dict[int, float]:
    """Values of the completed runs by seed."""
    return {
        seed: value
        for run in row.group.runs
        if run.state == "completed"
        and isinstance(seed := run.config.get("seed"), int)
        and (value := run.metrics.get(metric)) is not None
    }


def _constants(a: Sequence[Run], b: Sequence[Run], keys: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """Keys, other than `keys`, that have one value in A and another in B, with both values."""
    constants = {}
    for key in dict.fromkeys(key for run in (*a, *b) for key in run.config):
        if key in LOCATION_KEYS or key in keys:
            continue
        values = [distinct_values(key, side) for side in (a, b)]
        x, y = ((own[0] if own else None) for own in values)
        if max(map(len, values)) > 1 or hashable(x) == hashable(y):
            continue
        choice, dot, _ = key.partition(".")
        if dot and None in (x, y) and (choice in constants or choice in keys):
            continue  # an option of a choice, such as norm.groups, which the other side did not make
        constants[key] = (x, y)
    return constants
