"""Claims in the terminal: the list, a summary of verdicts, and the evidence for one. Colors only repeat the words."""

import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from normexp.claims import headline as headlines
from normexp.claims import verdict as verdicts
from normexp.claims import wording
from normexp.claims.schema import Claim, Condition, is_number
from normexp.claims.verdict import OUTCOMES, ConditionVerdict, Outcome, Verdict, one_line
from normexp.report.groups import format_value

COLORS: dict[Outcome, str] = {
    "confirmed": "green",
    "refuted": "red",
    "inconclusive": "yellow",
    "not comparable": "cyan",
}


def show(console: Console, rows: Sequence[tuple[Claim, Verdict | None]]) -> None:
    """Print the list of claims: name, verdict if there is one, cost of a run, and statement."""
    for kind, head in (("exact", "Exact claims (computed in float64)"), ("experiment", "Experiments (trained)")):
        own = [(claim, verdict) for claim, verdict in rows if claim.kind == kind]
        if not own:
            continue
        _print(console, head, "bold")
        wide = max(len(one_line(claim.name)) for claim, _ in own)
        outcomes = [Text("not judged", style="dim") if verdict is None else _outcome(verdict) for _, verdict in own]
        for (claim, _), outcome in zip(own, outcomes, strict=True):
            line = Text(f"{one_line(claim.name):<{wide}}  ", style="bold")
            line.append_text(Text(style="not bold").append_text(outcome))
            line.append(" " * (max(map(len, outcomes)) - len(outcome)))
            line.append(f"  {one_line(claim.cost)}" if claim.cost else "", style="not bold dim")
            console.print(line, overflow="fold")
            console.print(Padding.indent(Text(one_line(claim.statement)), 2))
        console.print()


def rule(console: Console, claim: Claim) -> None:
    """Print a claim that has no verdict: its statement, the rule that will decide it, and its runs."""
    _print_head(console, claim.name, claim)
    _print(console, "not judged yet\n")
    if claim.explanation:
        _print(console, f"{one_line(claim.explanation)}\n")
    _print_rule_size(console, claim.rule, claim.combine)
    for condition in claim.rule:
        _print_condition(console, ConditionVerdict.of(condition))
    for required in claim.requires:
        _print(console, f"requires: {one_line(required.what)}", "dim")
    if claim.sweep is not None:
        arms, axes = claim.sweep.arms, claim.sweep.axes
        runs = len(arms) * math.prod(map(len, axes.values())) * len(claim.seeds)
        rows = {"arms": "; ".join(map(one_line, arms))}
        rows |= {one_line(axis): one_line(", ".join(map(format_value, values))) for axis, values in axes.items()}
        rows |= {"seeds": ", ".join(map(str, claim.seeds)), "runs": f"{runs}, {one_line(claim.cost)}".rstrip(", ")}
        console.print()
        _print_pairs(console, rows)
    console.print()


def summary(console: Console, verdicts: Sequence[Verdict]) -> None:
    """Print one line per claim, and the number of claims with each outcome."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("claim", "verdict", "effect", "rule", "n"):
        whole = name in ("verdict", "n")
        table.add_column(name, overflow="fold", no_wrap=whole, justify="right" if name == "n" else "left")
    for verdict in verdicts:
        shown, rule, seeds = headlines.format_headline(verdict)
        effect = Text(shown)
        for part in filter(None, (headlines.headline_label(verdict, most=44), headlines.tally(verdict))):
            effect.append(f"\n{part}", style="dim")
        outcome = Text(verdict.outcome, style=COLORS[verdict.outcome])
        if verdict.quick:
            outcome.append("\nquick", style="dim")
        table.add_row(Text(verdict.claim), outcome, effect, Text(rule), str(seeds))
    if verdicts:
        console.print(table)
        console.print()
    counts = Counter(verdict.outcome for verdict in verdicts)
    by_outcome = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
    _print(console, f"{wording.plural(len(verdicts), 'claim')}{f': {by_outcome}' if by_outcome else ''}.")
    if quick := sum(verdict.quick for verdict in verdicts):
        _print(console, f"{wording.plural(quick, 'quick verdict')}: a smoke test, not evidence.", "dim")


def evidence(console: Console, verdict: Verdict, *, saved: str | None = None) -> None:
    """Print a verdict with all its evidence, the folder of its runs and the command that repeats it.

    saved: for a verdict that was computed only to be shown, the state of the one on disk.
    """
    _print_head(console, verdict.claim, verdict)
    console.print(Text(f"{saved}; computed now: " if saved else "").append_text(_outcome(verdict)))
    _print(console, verdict.because)
    if verdict.quick:
        _print(console, "Quick: fewer seeds, steps or values than the claim asks for; a smoke test, not evidence.")
    for table in verdict.tables:
        console.print()
        _print_table(console, table)
    if verdict.drawing:
        console.print()
        console.print(Text(verdict.drawing), soft_wrap=True)
    if verdict.explanation:
        console.print()
        _print(console, one_line(verdict.explanation))
    console.print()
    _print_rule_size(console, verdict.conditions, verdict.combine)
    if verdict.kind == "exact":
        _print_exact_conditions(console, verdict)
    else:
        for condition in verdict.conditions:
            _print_condition(console, condition)
            _print_cells(console, verdict, condition)
    known = wording.facts(verdict, untrained="none")
    known.pop("scale", None)  # the line of the outcome has it
    _print_pairs(console, known | {"folder": verdict.folder or "", "judge it" if saved else "again": verdict.command})


def _print_table(console: Console, table: verdicts.Table) -> None:
    """Print a table of an exact claim. If the console is too narrow, wrap the heads, then round the numbers."""
    for digits, room in ((6, 200), (6, 16), (6, 12), (6, 8), (3, 8)):
        heads = [textwrap.fill(head, room, break_long_words=False) for head in table.columns]
        rows = [[wording.format_table_value(value, digits=digits) for value in row] for row in table.rows]
        widths = [
            max(len(line) for text in column for line in text.split("\n")) for column in zip(heads, *rows, strict=True)
        ]
        if sum(widths) + 2 * len(widths) <= console.width:
            break
    _print(console, table.title, "bold")
    printed = _new_table()
    for i, head in enumerate(heads):
        numeric = all(row[i] is None or is_number(row[i]) for row in table.rows)
        printed.add_column(Text(head), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        printed.add_row(*map(Text, row))
    console.print(printed)


def _new_table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")


def _print_exact_conditions(console: Console, verdict: Verdict) -> None:
    """Print the conditions of an exact claim as one table: each has a single cell."""
    table = _new_table()
    for head in ("condition", "verdict", "value [over seeds]", "rule"):
        table.add_column(head, overflow="fold", no_wrap=head == "verdict")
    for condition, cell in verdict.cells:
        outcome = Text(cell.outcome, style=COLORS[cell.outcome])
        effect = Text(wording.format_effect(condition, cell))
        if cell.note:
            effect.append(f"\n{cell.note}", style="dim")
        table.add_row(Text(one_line(condition.what)), outcome, effect, Text(wording.format_rule(condition)))
    console.print(table)
    console.print()


def _print_cells(console: Console, verdict: Verdict, condition: ConditionVerdict) -> None:
    """Print one line per cell, with the values of each arm below it."""
    for cell in condition.cells:
        label, size = wording.cell_label(cell), cell.effect_size
        line = Text(f"  {label}: " if label else "  ").append(cell.outcome, style=COLORS[cell.outcome])
        line.append(f", {wording.format_effect(condition, cell)}{'' if size is None else f', effect size {size:.1f}'}")
        console.print(line.append(f", n={wording.seed_count(verdict, cell)}"), overflow="fold")
        for detail in filter(None, [*wording.arm_lines(condition, cell), cell.note]):
            console.print(Padding.indent(Text(detail, style="dim"), 6))
    console.print()


def _print_rule_size(console: Console, conditions: Sequence[Condition | ConditionVerdict], combine: str) -> None:
    """Print '3 conditions; all must hold', if there are several."""
    if len(conditions) > 1:
        _print(console, f"{len(conditions)} conditions; {wording.combine_label(combine, conditions)}", "dim")


def _print_condition(console: Console, condition: ConditionVerdict) -> None:
    """Print what a condition compares, and its threshold."""
    _print(console, one_line(condition.what), "bold")
    _print(console, one_line(wording.describe_condition(condition, intervals="intervals")), "dim")


def _print_head(console: Console, name: str, of: Claim | Verdict) -> None:
    _print(console, one_line(name), "bold")
    _print(console, one_line(of.statement))
    _print(console, one_line(of.source), "dim")
    console.print()


def _print_pairs(console: Console, rows: Mapping[str, str]) -> None:
    wide = max([8, *map(len, rows)])
    for key, value in rows.items():
        if value:  # paths and commands stay on one line, to be copied
            console.print(Text(f"{key:<{wide}} {value}"), soft_wrap=key in ("folder", "again", "judge it"))


def _outcome(verdict: Verdict) -> Text:
    """'confirmed, full scale', in color."""
    label = headlines.outcome_label(verdict)
    return Text(verdict.outcome, style=COLORS[verdict.outcome]).append(f", {label}" if label else "", style="default")


def _print(console: Console, line: str, style: str = "") -> None:
    if line:
        console.print(Text(line, style=style))
