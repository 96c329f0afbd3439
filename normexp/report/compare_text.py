"""A comparison as tables and sentences, built once for the terminal and the page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from normexp.metrics import format_spread, is_fraction, metric_title
from normexp.report.aggregate import describe_outcome, format_mean_std, small_sample_note
from normexp.report.columns import plain_table
from normexp.report.compare import Comparison, Difference
from normexp.report.groups import distinct_values, format_value

METHOD_NOTES = {
    "paired": "paired: Student's t over the seeds, which are the same in A and B.",
    "Welch": "Welch: Welch's t-test (unpaired).",
    "none": "No interval with one run on a side: its spread over seeds is unknown. Train both with seed=0,1,2.",
}
"""Explanation of an interval, or of its absence, by method."""


@dataclass(frozen=True)
class ComparisonText:
    """config: key, value in A, value in B. rows: cells of the table of differences, under `heads`; bold: indices of those whose
    interval excludes 0. caveat: why the comparison is not like for like, or empty. remarks: sentences in place of tables
    without rows."""

    sides: Sequence[str]
    config: Sequence[Sequence[str]]
    caveat: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    bold: Sequence[int]
    notes: Sequence[str]
    remarks: Sequence[str]


def describe(comparison: Comparison, sides: Iterable[str], *, metric: str) -> ComparisonText:
    """The tables and sentences of a comparison. sides: names of A and B."""
    rows = [_cells(difference, metric) for difference in comparison.differences]
    heads = [metric_title(metric), "A", "B", "B - A", "n", *[""] * any(row[-1] for row in rows)]
    rows = [row[: len(heads)] for row in rows]
    halves = [(abs(own.value or 0.0), own.half) for own in comparison.differences]
    bold = [i for i, (value, half) in enumerate(halves) if half is not None and value > half]
    notes, config = _notes(comparison, bold), _config(comparison)
    same = f"A and B have the same config{', apart from swept keys' * bool(comparison.keys)}."
    remarks = [same] * (not config) + ["A and B have no group in common."] * (not rows)
    return ComparisonText(list(sides), config, _caveat(comparison), heads, rows, bold, notes, remarks)


def _cells(difference: Difference, metric: str) -> list[str]:
    a, b, value, half = difference.a, difference.b, difference.value, difference.half
    scale, places = (100, ".2f") if is_fraction(metric) else (1, ".3g")
    signed = "-" if value is None else f"{scale * value:+{places}}"
    if value is not None and half is not None:
        percent = f"{signed} ± {100 * half:.2f}"
        signed = percent if is_fraction(metric) else format_spread(value, half, sign="+")
    counts = f"{a.n}, {b.n}" + ("" if difference.method == "none" else f" {difference.method}")
    ends = [f"{side}: {end}" for side, row in (("A", a), ("B", b)) if (end := describe_outcome(row, metric))]
    return [difference.label, *(format_mean_std(row, metric) for row in (a, b)), signed, counts, "; ".join(ends)]


def _config(comparison: Comparison) -> list[list[str]]:
    """The keys that differ, also those with several values on a side that a caveat names."""
    rows = [[key, *map(format_value, values)] for key, values in comparison.config.items()]
    runs_a = [run for own in comparison.differences for run in own.a.group.runs]
    runs_b = [run for own in comparison.differences for run in own.b.group.runs]
    for key in (comparison.compared, *comparison.confounders):
        if key and key not in comparison.config:
            values = (", ".join(map(format_value, distinct_values(key, runs))) or "-" for runs in (runs_a, runs_b))
            rows.append([key, *values])
    return rows


def _caveat(comparison: Comparison) -> str:
    compared, others = comparison.compared, comparison.confounders
    different = [key for key in (compared, *others) if key]
    if "data" in different:
        rest = ", ".join(key for key in different if key != "data")
        also = f" They also differ in {rest}." if rest else ""
        return f"Not like for like: A and B use different data sets, so B - A is not computed.{also}"
    if "eval_every" in different:
        return "Not like for like: A and B were evaluated at other steps or on other samples, so B - A is not computed."
    if not others:
        return ""
    if compared is None:
        return "Not like for like: A and B come from versions of normexp with different numerics. No paired interval."
    both = f"both {compared} and {others[0]}" if len(others) == 1 else f"{', '.join(different[:-1])} and {others[-1]}"
    attributed = f"so B - A cannot be attributed to {compared} alone."
    unpaired = " Seeds are treated as unpaired." * any(own.half is not None for own in comparison.differences)
    return f"Confounded: A and B differ in {both}, {attributed}{unpaired}"


def _notes(comparison: Comparison, bold: Sequence[int]) -> list[str]:
    notes = []
    for side, labels in (("A", comparison.only_a), ("B", comparison.only_b)):
        if labels:
            more = f" and {len(labels) - 5} more" if len(labels) > 5 else ""
            notes.append(f"Only in {side}: {', '.join(labels[:5])}{more}.")
    used = {difference.method for difference in comparison.differences if difference.value is not None}
    if used & {"paired", "Welch"}:
        notes.append("A and B: mean ± standard deviation. B - A: ± 95 % confidence interval of each row.")
    if bold:
        notes.append("Bold: the interval excludes 0.")
    notes += [note for method, note in METHOD_NOTES.items() if method in used]
    sides = [row for difference in comparison.differences for row in (difference.a, difference.b)]
    if "none" not in used and (warning := small_sample_note(sides)):
        notes.append(warning)
    return notes


def show_comparison(console: Console, text: ComparisonText) -> None:
    """Print a comparison."""
    console.print()
    for side, name in zip("AB", text.sides, strict=True):
        console.print(Text.assemble((side, "bold"), f"  {name}"), soft_wrap=True)
    config = plain_table()
    for head in ("config", "A", "B"):
        config.add_column(head, overflow="fold")
    for cells in text.config:
        config.add_row(*map(Text, cells))
    parts: list[Table | Text] = [config] if text.config else []
    parts += map(Text, text.remarks)
    parts += [Text(text.caveat, style="yellow")] if text.caveat else []
    parts += [_difference_table(text, star="" if console.color_system else "*")] if text.rows else []
    for part in parts:
        console.print()
        console.print(part)
    for note in text.notes:
        console.print(Text(note if console.color_system else note.replace("Bold:", "*:")), style="dim")


def _difference_table(text: ComparisonText, *, star: str) -> Table:
    """star: marks the intervals that exclude 0, on a console without bold."""
    table = plain_table()
    words = [word for cell in (text.heads[0], *(row[0] for row in text.rows)) for word in cell.split()]
    # wide enough that lines break between words
    table.add_column(text.heads[0], overflow="fold", min_width=min(30, max(map(len, words))))
    for i, head in enumerate(text.heads[1:], 1):
        table.add_column(head, justify="right" if i < 4 else "left", no_wrap=head != "", overflow="fold")
    for i, row in enumerate(text.rows):
        cells = list(map(Text, row))
        if i in text.bold:
            cells[3] = Text(row[3] + star, style="bold")
        table.add_row(*cells)
    return table
