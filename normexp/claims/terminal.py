"""Claims in the terminal: the list, a summary of verdicts, and the evidence for one. Colours only repeat what words say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from normexp.claims.schema import Claim, is_number
from normexp.claims.verdict import OUTCOMES, ConditionVerdict, Outcome, Verdict, one_line
from normexp.claims.verdict import Table as ExactTable
from normexp.claims.wording import (
    arm_lines,
    cell_label,
    describe_comparison,
    duration,
    fingerprints_line,
    format_effect,
    format_rule,
    format_table_value,
    headline,
    headline_label,
    interval_levels,
    judged_time,
    percent_factor,
    plural,
    scale_label,
    seed_count,
    unit,
    versions_line,
)
from normexp.report.groups import format_value

COLOURS: dict[Outcome, str] = {
    "confirmed": "green",
    "refuted": "red",
    "inconclusive": "yellow",
    "not comparable": "cyan",
}


def show(console: Console, rows: Sequence[tuple[Claim, Verdict | None]]) -> None:
    """Print the list of claims: name, verdict if there is one, cost of a run, and statement."""
    for kind, head in (("exact", "Exact: computed in float64, from seeds"), ("experiment", "Experiments: trained")):
        own = [(claim, verdict) for claim, verdict in rows if claim.kind == kind]
        if not own:
            continue
        _line(console, Text(head, style="bold"))
        wide = max(len(one_line(claim.name)) for claim, _ in own)
        outcomes = [Text("not judged", style="dim") if verdict is None else _outcome(verdict) for _, verdict in own]
        for (claim, _), outcome in zip(own, outcomes, strict=True):
            line = Text(f"{one_line(claim.name):<{wide}}  ", style="bold")
            line.append_text(Text(style="not bold").append_text(outcome))
            line.append(" " * (max(map(len, outcomes)) - len(outcome)))
            line.append(f"  {one_line(claim.cost)}" if claim.cost else "", style="not bold dim")
            console.print(line, highlight=False, overflow="fold")
            console.print(Padding(Text(one_line(claim.statement)), (0, 0, 0, 2), expand=False), highlight=False)
        console.print()


def rule(console: Console, claim: Claim) -> None:
    """Print a claim that has no verdict: its statement, the rule that will decide it, and its runs."""
    _head(console, claim)
    console.print()
    combine = f"; {_combine(claim)}" if len(claim.rule) > 1 else ""
    _line(console, Text(f"{plural(len(claim.rule), 'condition')}{combine}", style="dim"))
    for condition in claim.rule:
        _condition_head(console, ConditionVerdict.of(condition))
    for required in claim.requires:
        _line(console, Text(f"Required of all arms, to compare them at all: {one_line(required.what)}", style="dim"))
    if claim.sweep is not None:
        runs = len(claim.sweep.arms) * math.prod(map(len, claim.sweep.axes.values())) * len(claim.seeds)
        console.print()
        _pairs(
            console,
            {
                "arms": ", ".join(map(one_line, claim.sweep.arms)),
                **{one_line(a): one_line(", ".join(map(format_value, vs))) for a, vs in claim.sweep.axes.items()},
                "seeds": f"{', '.join(map(str, claim.seeds))}; {plural(runs, 'run')} in all",
            },
        )
    if claim.explanation:
        console.print()
        _line(console, one_line(claim.explanation))
    console.print()


def summary(console: Console, verdicts: Sequence[Verdict]) -> None:
    """Print one line per claim, and the number of claims with each outcome."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("claim", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("effect", overflow="fold")
    table.add_column("rule", overflow="fold")
    table.add_column("n", justify="right", no_wrap=True)
    for verdict in verdicts:
        head = headline(verdict)
        effect = Text(format_effect(*head) if head else "-")
        if part := headline_label(verdict, most=44):
            effect.append(f"\n{part}", style="dim")
        outcome = Text(verdict.outcome, style=COLOURS[verdict.outcome])
        if verdict.quick:
            outcome.append("\nquick", style="dim")
        rule = Text(format_rule(head[0]) if head else "-")
        table.add_row(Text(verdict.claim), outcome, effect, rule, Text(seed_count(verdict, head[1] if head else None)))
    if verdicts:
        console.print(table, highlight=False)
        console.print()
    counts = Counter(verdict.outcome for verdict in verdicts)
    by_outcome = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
    _line(console, Text(f"{plural(len(verdicts), 'claim')}{f': {by_outcome}' if by_outcome else ''}."))
    if quick := sum(verdict.quick for verdict in verdicts):
        subject = "One verdict is" if quick == 1 else f"{quick} verdicts are"
        _line(console, Text(f"{subject} quick: to see that it runs, not evidence.", style="dim"))


def evidence(console: Console, verdict: Verdict) -> None:
    """Print a verdict with everything it rests on, where its runs are, and how to run it again."""
    _head(console, verdict)
    console.print()
    _line(console, _outcome(verdict))
    _line(console, verdict.because)
    if verdict.quick:
        _line(console, "Quick: from fewer seeds, steps or values than the claim asks for; not evidence.")
    if len(verdict.conditions) > 1:
        _line(console, Text(f"\n{len(verdict.conditions)} conditions; {_combine(verdict)}.", style="dim"))
    for condition in verdict.conditions:
        console.print()
        _condition(console, verdict, condition)
    for table in verdict.tables:
        console.print()
        _table(console, table)
    if verdict.drawing:
        console.print()
        for row in verdict.drawing.split("\n"):
            console.print(Text(row), soft_wrap=True, highlight=False)
    if verdict.explanation:
        console.print()
        _line(console, one_line(verdict.explanation))
    console.print()
    seconds = "" if verdict.seconds is None else duration(verdict.seconds)
    rows = {
        "runs": f"{verdict.runs}, {duration(verdict.seconds)}" if verdict.runs else seconds and f"none, {seconds}",
        "seeds": ", ".join(map(str, verdict.seeds)),
        "judged": judged_time(verdict),
        "with": versions_line(verdict),
        "rule": fingerprints_line(verdict),
        "folder": verdict.folder,
        "again": verdict.command,
    }
    _pairs(console, {key: value for key, value in rows.items() if value})


def _condition(console: Console, verdict: Verdict, condition: ConditionVerdict) -> None:
    _condition_head(console, condition)
    for cell in condition.cells:
        label = cell_label(cell)
        line = Text(f"  {label}: " if label else "  ")
        line.append(cell.outcome, style=COLOURS[cell.outcome])
        line.append(f", {format_effect(condition, cell)}")
        line.append("" if cell.effect_size is None else f", effect size {cell.effect_size:.1f}")
        line.append(f", n={seed_count(verdict, cell)}")
        console.print(line, highlight=False, overflow="fold")
        for detail in filter(None, [*arm_lines(cell, percent_factor(condition)), cell.note]):
            console.print(Padding(Text(detail, style="dim"), (0, 0, 0, 6), expand=False), highlight=False)


def _condition_head(console: Console, condition: ConditionVerdict) -> None:
    """Print what a condition compares, and its threshold."""
    _line(console, Text(one_line(condition.what), style="bold"))
    levels = interval_levels(condition)
    level = f"; {levels} intervals" if levels else ""
    aside = "" if condition.decides else "; reported, does not decide"
    about = f"{describe_comparison(condition)}: {format_rule(condition)}{unit(condition)}{level}{aside}"
    _line(console, Text(one_line(about), style="dim"))


def _head(console: Console, of: Claim | Verdict) -> None:
    _line(console, Text(one_line(of.name if isinstance(of, Claim) else of.claim), style="bold"))
    _line(console, one_line(of.statement))
    _line(console, Text(one_line(of.source), style="dim"))


def _combine(of: Claim | Verdict) -> str:
    return "any that decides suffices" if of.combine == "any" else "all that decide must hold"


def _table(console: Console, table: ExactTable) -> None:
    """A table of an exact claim. Its cells fold in a narrow terminal."""
    _line(console, Text(table.title, style="bold"))
    printed = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for i, head in enumerate(table.columns):
        numeric = all(row[i] is None or is_number(row[i]) for row in table.rows)
        printed.add_column(Text(head), justify="right" if numeric else "left", overflow="fold")
    for row in table.rows:
        printed.add_row(*(Text(format_table_value(value)) for value in row))
    console.print(printed, highlight=False)


def _pairs(console: Console, rows: Mapping[str, str]) -> None:
    wide = max([8, *map(len, rows)])
    for key, value in rows.items():
        # paths and commands stay on one line, to be copied
        console.print(Text(f"{key:<{wide}} {value}"), soft_wrap=key in ("folder", "again"), highlight=False)


def _outcome(verdict: Verdict) -> Text:
    """'confirmed, full scale', coloured."""
    line, scale = Text(verdict.outcome, style=COLOURS[verdict.outcome]), scale_label(verdict)
    return line.append(f", {scale}" if scale else "", style="default")


def _line(console: Console, line: str | Text) -> None:
    if line:
        console.print(line if isinstance(line, Text) else Text(line), highlight=False)
