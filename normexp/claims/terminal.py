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

COLORS: dict[Outcome, str] = dict(zip(OUTCOMES, ("green", "red", "yellow", "cyan"), strict=True))


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
            name, padding = f"{one_line(claim.name):<{wide}}  ", " " * (max(map(len, outcomes)) - len(outcome))
            cost = (f"{padding}  {one_line(claim.cost)}", "dim") if claim.cost else padding
            console.print(Text.assemble((name, "bold"), outcome, cost), overflow="fold")
            console.print(Padding.indent(Text(one_line(claim.statement)), 2))
        console.print()


def rule(console: Console, claim: Claim) -> None:
    """Print a claim that has no verdict: its statement, the rule that will decide it, and its runs."""
    _print_head(console, claim.name, claim)
    _print(console, "not judged yet\n")
    if claim.explanation:
        _print(console, f"{one_line(claim.explanation)}\n")
    _print_rule_size(console, claim.rule, claim.combine)
    for condition in map(ConditionVerdict.of, claim.rule):
        _print_condition(console, condition)
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
    table = _new_table("claim", "verdict", "effect", "rule", "n", header_style="bold")
    for verdict in verdicts:
        effect, rule, seeds = headlines.format_headline(verdict)
        parts = filter(None, (headlines.headline_label(verdict), headlines.tally(verdict)))
        details = "".join(f"\n{part}" for part in parts)
        outcome = Text.assemble((verdict.outcome, COLORS[verdict.outcome]), ("\nquick" * verdict.quick, "dim"))
        table.add_row(Text(verdict.claim), outcome, Text.assemble(effect, (details, "dim")), Text(rule), str(seeds))
    if verdicts:
        console.print(table, "")
    counts = Counter(verdict.outcome for verdict in verdicts)
    by_outcome = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
    _print(console, f"{wording.plural(len(verdicts), 'claim')}: {by_outcome}".removesuffix(": ") + ".")
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
        _print(console, "Quick run: fewer seeds, steps or axis values than the full claim. A smoke test, not evidence.")
    for table in verdict.tables:
        console.print()
        _print_table(console, table)
    if verdict.drawing:
        console.print(Text(f"\n{verdict.drawing}"), soft_wrap=True)
    if verdict.explanation:
        console.print(Text(f"\n{one_line(verdict.explanation)}"))
    console.print()
    _print_rule_size(console, verdict.conditions, verdict.combine)
    if verdict.kind == "exact":
        _print_exact_conditions(console, verdict)
    else:
        for condition in verdict.conditions:
            _print_condition(console, condition)
            _print_cells(console, verdict, condition)
    known = wording.facts(verdict)
    known.pop("scale", None)  # the line of the outcome has it
    _print_pairs(console, known | {"folder": verdict.folder or "", "run it" if saved else "rerun": verdict.command})


def _print_table(console: Console, table: verdicts.Table) -> None:
    """Print a table of an exact claim. If the console is too narrow, wrap the heads, then round the numbers."""
    for digits, room in ((6, 200), (6, 16), (6, 12), (6, 8), (3, 8)):
        heads = [textwrap.fill(head, room, break_long_words=False) for head in table.columns]
        rows = [[wording.format_table_value(value, digits=digits) for value in row] for row in table.rows]
        widths = [max(map(len, "\n".join(column).split("\n"))) for column in zip(heads, *rows, strict=True)]
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


def _new_table(*heads: str, header_style: str = "dim") -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=header_style)
    for head in heads:
        whole, justify = head in ("verdict", "n"), "right" if head == "n" else "left"
        table.add_column(head, overflow="fold", no_wrap=whole, justify=justify)  # type: ignore[arg-type]
    return table


def _print_exact_conditions(console: Console, verdict: Verdict) -> None:
    """Print the conditions of an exact claim as one table: each has a single cell."""
    table = _new_table("condition", "verdict", "value [over seeds]", "rule")
    for condition, cell in verdict.cells:
        outcome = Text(cell.outcome, style=COLORS[cell.outcome])
        note = f"\n{cell.note}" if cell.note else ""
        effect = Text.assemble(wording.format_effect(condition, cell), (note, "dim"))
        table.add_row(Text(one_line(condition.what)), outcome, effect, Text(wording.format_rule(condition)))
    console.print(table, "")


def _print_cells(console: Console, verdict: Verdict, condition: ConditionVerdict) -> None:
    for cell in condition.cells:
        label, effect = wording.cell_label(cell), wording.format_effect(condition, cell)
        size = "" if cell.effect_size is None else f", effect size {cell.effect_size:.1f}"
        numbers = f", {effect}{size}, n={wording.seed_count(verdict, cell)}"
        outcome = cell.outcome, COLORS[cell.outcome]
        console.print(Text.assemble("  ", f"{label}: " if label else "", outcome, numbers), overflow="fold")
        for detail in filter(None, [*wording.arm_lines(condition, cell), cell.note]):
            console.print(Padding.indent(Text(detail, style="dim"), 6))
    console.print()


def _print_rule_size(console: Console, conditions: Sequence[Condition | ConditionVerdict], combine: str) -> None:
    """Print '3 conditions; all must hold', if there are several."""
    if len(conditions) > 1:
        _print(console, f"{len(conditions)} conditions; {wording.combine_label(combine, conditions)}", "dim")


def _print_condition(console: Console, condition: ConditionVerdict) -> None:
    _print(console, one_line(condition.what), "bold")
    _print(console, one_line(wording.describe_condition(condition)), "dim")


def _print_head(console: Console, name: str, of: Claim | Verdict) -> None:
    _print(console, one_line(name), "bold")
    _print(console, one_line(of.statement))
    _print(console, one_line(of.source), "dim")
    console.print()


def _print_pairs(console: Console, rows: Mapping[str, str]) -> None:
    wide = max([8, *map(len, rows)])
    for key, value in rows.items():
        if value:  # paths and commands stay on one line, to be copied
            console.print(Text(f"{key:<{wide}} {value}"), soft_wrap=key in ("folder", "rerun", "run it"))


def _outcome(verdict: Verdict) -> Text:
    """'confirmed, full scale, outdated', with the outcome in color."""
    labels = [wording.scale_label(verdict), "outdated" * headlines.is_outdated(verdict)]
    return Text.assemble((verdict.outcome, COLORS[verdict.outcome]), *(f", {label}" for label in labels if label))


def _print(console: Console, line: str, style: str = "") -> None:
    if line:
        console.print(Text(line, style=style))
