"""Claims in the terminal: the list, a summary of verdicts, and the evidence for one. Colours only repeat what words say."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from normexp.claims import wording
from normexp.claims.schema import Claim, is_number
from normexp.claims.verdict import OUTCOMES, ConditionVerdict, Outcome, Verdict, one_line
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
    combine = f"; {_combine(claim)}" if len(claim.rule) > 1 else ""
    _print(console, f"{wording.plural(len(claim.rule), 'condition')}{combine}", "dim")
    for condition in claim.rule:
        _print_condition(console, ConditionVerdict.of(condition))
    for required in claim.requires:
        _print(console, f"Required of all arms, to compare them at all: {one_line(required.what)}", "dim")
    if claim.sweep is not None:
        arms, axes = claim.sweep.arms, claim.sweep.axes
        runs = len(arms) * math.prod(map(len, axes.values())) * len(claim.seeds)
        rows = {"arms": ", ".join(map(one_line, arms))}
        rows |= {one_line(axis): one_line(", ".join(map(format_value, values))) for axis, values in axes.items()}
        rows |= {"seeds": f"{', '.join(map(str, claim.seeds))}; {wording.plural(runs, 'run')} in all"}
        console.print()
        _print_pairs(console, rows)
    if claim.explanation:
        console.print()
        _print(console, one_line(claim.explanation))
    console.print()


def summary(console: Console, verdicts: Sequence[Verdict]) -> None:
    """Print one line per claim, and the number of claims with each outcome."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("claim", "verdict", "effect", "rule", "n"):
        whole = name in ("verdict", "n")
        table.add_column(name, overflow="fold", no_wrap=whole, justify="right" if name == "n" else "left")
    for verdict in verdicts:
        shown, rule, seeds = wording.format_headline(verdict)
        effect = Text(shown)
        if part := wording.headline_label(verdict, most=44):
            effect.append(f"\n{part}", style="dim")
        outcome = Text(verdict.outcome, style=COLOURS[verdict.outcome])
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
        subject = "One verdict is" if quick == 1 else f"{quick} verdicts are"
        _print(console, f"{subject} quick: to see that it runs, not evidence.", "dim")


def evidence(console: Console, verdict: Verdict) -> None:
    """Print a verdict with everything it rests on, where its runs are, and how to run it again."""
    _print_head(console, verdict.claim, verdict)
    console.print(_outcome(verdict))
    _print(console, verdict.because)
    if verdict.quick:
        _print(console, "Quick: from fewer seeds, steps or values than the claim asks for; not evidence.")
    if len(verdict.conditions) > 1:
        _print(console, f"\n{len(verdict.conditions)} conditions; {_combine(verdict)}.", "dim")
    for condition in verdict.conditions:
        console.print()
        _print_condition(console, condition)
        for cell in condition.cells:
            label, size = wording.cell_label(cell), cell.effect_size
            line = Text(f"  {label}: " if label else "  ").append(cell.outcome, style=COLOURS[cell.outcome])
            line.append(
                f", {wording.format_effect(condition, cell)}{'' if size is None else f', effect size {size:.1f}'}"
            )
            console.print(line.append(f", n={wording.seed_count(verdict, cell)}"), overflow="fold")
            for detail in filter(None, [*wording.arm_lines(condition, cell), cell.note]):
                console.print(Padding.indent(Text(detail, style="dim"), 6))
    for table in verdict.tables:
        console.print()
        _print(console, table.title, "bold")
        printed = Table(
            box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim"
        )  # cells fold if it is narrow
        for i, head in enumerate(table.columns):
            numeric = all(row[i] is None or is_number(row[i]) for row in table.rows)
            printed.add_column(Text(head), justify="right" if numeric else "left", overflow="fold")
        for row in table.rows:
            printed.add_row(*(Text(wording.format_table_value(value)) for value in row))
        console.print(printed)
    if verdict.drawing:
        console.print()
        console.print(Text(verdict.drawing), soft_wrap=True)
    if verdict.explanation:
        console.print()
        _print(console, one_line(verdict.explanation))
    console.print()
    known = wording.facts(verdict, untrained="none")
    known.pop("scale", None)  # is in the line of the outcome
    _print_pairs(console, known | {"folder": verdict.folder or "", "again": verdict.command})


def _print_condition(console: Console, condition: ConditionVerdict) -> None:
    """Print what a condition compares, and its threshold."""
    _print(console, one_line(condition.what), "bold")
    _print(console, one_line(wording.describe_condition(condition, intervals="intervals")), "dim")


def _print_head(console: Console, name: str, of: Claim | Verdict) -> None:
    _print(console, one_line(name), "bold")
    _print(console, one_line(of.statement))
    _print(console, one_line(of.source), "dim")
    console.print()


def _combine(of: Claim | Verdict) -> str:
    return "any that decides suffices" if of.combine == "any" else "all that decide must hold"


def _print_pairs(console: Console, rows: Mapping[str, str]) -> None:
    wide = max([8, *map(len, rows)])
    for key, value in rows.items():
        if value:  # paths and commands stay on one line, to be copied
            console.print(Text(f"{key:<{wide}} {value}"), soft_wrap=key in ("folder", "again"))


def _outcome(verdict: Verdict) -> Text:
    """'confirmed, full scale', coloured."""
    scale = wording.scale_label(verdict)
    return Text(verdict.outcome, style=COLOURS[verdict.outcome]).append(f", {scale}" if scale else "", style="default")


def _print(console: Console, line: str, style: str = "") -> None:
    if line:
        console.print(Text(line, style=style))
