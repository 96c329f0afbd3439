"""Two sweeps or runs side by side: what differs in config, and what that made of the results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from normexp.report.aggregate import Row, is_share, mean_and_std, outcome, rows, spread, title
from normexp.report.groups import check_key, comparable, differing, group, values_of, word
from normexp.report.read import Collection, Run

Method = Literal["paired", "Welch", "none"]

WHERE = frozenset({"name", "runs_dir", "folder"})
"""Keys that say where a run is, and so differ between any two."""

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """B - A of the mean of a group that both have, in the metric's own unit.

    half: half the width of the confidence interval around it; None where there are too few runs for one.
    n: the runs of A and of B that count. Paired, the two have the same seeds.
    """

    a: Row
    b: Row
    value: float | None
    half: float | None
    method: Method


@dataclass(frozen=True)
class Comparison:
    """What two collections of runs have in common and what not.

    config: for each key that is constant within each and differs between the two, its values. only_a, only_b: labels of groups
    that the other one has not.
    """

    keys: list[str]
    config: Mapping[str, tuple[Any, Any]]
    differences: list[Difference]
    only_a: list[str]
    only_b: list[str]


def compare(a: Collection, b: Collection, *, metric: str, by: Sequence[str] | None = None) -> Comparison:
    """Match the groups of two collections by the keys that vary within one of them (or those in `by`), and subtract."""
    counted = [[run for run in side.runs if run.state != "skipped"] for side in (a, b)]
    varied = [set(differing(side)) for side in counted]
    both = [*counted[0], *counted[1]]
    keys = list(by) if by is not None else [key for key in differing(both) if key in varied[0] | varied[1]]
    for key in keys:
        check_key(key, both)
    present = [[key for key in keys if any(key in run.config for run in side)] for side in counted]
    sides = [
        {
            tuple(comparable(row.group.values.get(key)) for key in keys): row
            for row in rows(group(side, own), metric, sort="name")
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


def paired(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Mean of b - a over pairs, and half the width of its confidence interval (Student 1908). Needs two pairs or more."""
    mean, std = spread([y - x for x, y in zip(a, b, strict=True)])
    assert mean is not None and std is not None
    return mean, _t(len(a) - 1) * std / math.sqrt(len(a))


def welch(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Difference of the means of independent samples of unequal variance, and half the width of its confidence interval
    (Welch 1947). Needs two values or more of each."""
    (mean_a, std_a), (mean_b, std_b) = spread(a), spread(b)
    assert mean_a is not None and mean_b is not None and std_a is not None and std_b is not None
    errors = [std_a**2 / len(a), std_b**2 / len(b)]
    error = sum(errors)
    if error == 0:
        return mean_b - mean_a, 0.0
    freedom = 1 / sum((e / error) ** 2 / (len(values) - 1) for e, values in zip(errors, (a, b), strict=True))
    return mean_b - mean_a, _t(freedom) * math.sqrt(error)


def show_comparison(console: Console, comparison: Comparison, names: tuple[str, str], *, metric: str) -> None:
    """Print it: A and B are the two names."""
    for side, name in zip("AB", names, strict=True):
        console.print(
            Text.assemble("\n" if side == "A" else "", (side, "bold"), f"  {name}"), soft_wrap=True, highlight=False
        )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for head in ("config", "A", "B"):
        table.add_column(head, overflow="fold")
    for key, (x, y) in comparison.config.items():
        table.add_row(*map(Text, (key, word(x), word(y))))
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
    labels = [(each.a if each.a.group.values else each.b).group.label for each in differences]
    longest = max(len(part) for text in (title(metric), *labels) for part in text.split())
    table.add_column(Text(title(metric)), overflow="fold", min_width=min(30, longest))  # lines break between words
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
            mean_and_std(a, metric),
            mean_and_std(b, metric),
            Text(_signed(difference, metric), style="bold" if clear else ""),
            f"{a.n}, {b.n}" + {"paired": " paired", "Welch": " Welch", "none": ""}[difference.method],
            *([Text(end)] if any(ends) else []),
        )
    console.print(table, highlight=False)


def _signed(difference: Difference, metric: str) -> str:
    if difference.value is None:
        return "-"
    scale, places = (100, ".2f") if is_share(metric) else (1, ".3g")
    text = f"{scale * difference.value:+{places}}"
    return text if difference.half is None else f"{text} ± {scale * difference.half:{places}}"


def _ends(difference: Difference, metric: str) -> str:
    sides = (("A", difference.a), ("B", difference.b))
    return "; ".join(f"{side}: {text}" for side, row in sides if (text := outcome(row, metric)))


def _methods(differences: Sequence[Difference]) -> list[str]:
    """How the intervals were made, and why there is none."""
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
        value, half = paired([seeds_a[seed] for seed in common], [seeds_b[seed] for seed in common])
        return Difference(a, b, value, half, "paired")
    if a.n > 1 and b.n > 1:
        return Difference(a, b, *welch(a.values, b.values), "Welch")
    return Difference(a, b, b.mean - a.mean, None, "none")


def _by_seed(row: Row, metric: str) -> dict[int, float]:
    """The values that the row's mean is of, by seed; runs without a seed or with that of another drop out."""
    return {
        seed: value
        for run in row.group.runs
        if run.state == "completed"
        and isinstance(seed := run.config.get("seed"), int)
        and (value := run.metrics.get(metric)) is not None
    }


def _constants(a: Sequence[Run], b: Sequence[Run], keys: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """The keys outside of `keys` with one value in each of the two, but not the same."""
    found = {}
    for key in dict.fromkeys(key for run in (*a, *b) for key in run.config):
        if key in WHERE or key in keys:
            continue
        values = [values_of(key, side) for side in (a, b)]
        x, y = ((each[0] if each else None) for each in values)
        if max(len(each) for each in values) > 1 or comparable(x) == comparable(y):
            continue
        choice, dot, _ = key.partition(".")
        if dot and None in (x, y) and (choice in found or choice in keys):
            continue  # a key of a choice that the other side did not make
        found[key] = (x, y)
    return found


def _t(freedom: float) -> float:
    """The two-sided quantile of Student's t."""
    from scipy.special import stdtrit  # quicker than scipy.stats

    return float(stdtrit(freedom, 0.5 + CONFIDENCE / 2))
