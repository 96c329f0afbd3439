"""Claims in the terminal: the list, a summary of verdicts, and the evidence for one. Colors only repeat the words."""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from normexp.claims import facts, overview, rule_words, wording
from normexp.claims import headline as headlines
from normexp.claims import verdict as verdicts
from normexp.claims.schema import Claim, Condition, is_number
from normexp.claims.setup import describe_setup
from normexp.claims.text_forest import print_forest
from normexp.claims.verdict import OUTCOMES, Cell, ConditionVerdict, Outcome, Verdict, one_line

COLORS: dict[Outcome, str] = dict(zip(OUTCOMES, ("green", "green", "yellow", "red", "yellow", "cyan"), strict=True))

Row = tuple[Claim | None, Verdict | None]
"""A claim and its verdict, of which one may be missing."""


def show(console: Console, rows: Sequence[tuple[Claim, Verdict | None]]) -> None:
    """Print the list of claims by group: name, verdict, grade, seeds, a sign per cell, and the headline.

    A claim without a verdict has its cost and its statement instead.
    """
    _print_rows(console, rows)


def summary(console: Console, verdicts: Sequence[Verdict]) -> None:
    """Print verdicts as in the list, and the number of claims with each outcome."""
    _print_rows(console, [(None, verdict) for verdict in verdicts])
    counts = Counter(verdict.outcome for verdict in verdicts)
    by_outcome = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
    _print(console, f"{wording.plural(len(verdicts), 'claim')}: {by_outcome}".removesuffix(": ") + ".")
    _print(console, overview.expected_errors(verdicts))
    if quick := sum(verdict.quick for verdict in verdicts):
        _print(console, f"{wording.plural(quick, 'quick verdict')}: a smoke test, not evidence.", "dim")


def _print_rows(console: Console, rows: Sequence[Row]) -> None:
    judged, ascii_only = [verdict for _, verdict in rows if verdict], console.options.ascii_only
    heads = [_row_head(claim, verdict, ascii_only=ascii_only) for claim, verdict in rows]
    last = "cost" if not judged else "cells" if len(judged) == len(rows) else "cells or cost"
    titles = [Text(title, style="dim") for title in ("claim", "verdict", "grade", "seeds", last)]
    widths = [max(map(len, column)) for column in zip(titles, *heads, strict=True)]
    if not judged:  # then there are no grades and no seeds
        titles, heads, widths = (
            titles[:2] + titles[4:],
            [head[:2] + head[4:] for head in heads],
            widths[:2] + widths[4:],
        )
    if rows:
        _print_columns(console, titles, widths)
    for group in overview.GROUPS:
        own = [i for i, row in enumerate(rows) if any(part is not None and part.group == group for part in row)]
        _print(console, group.capitalize() if own else "", "bold")
        for i in own:
            claim, verdict = rows[i]
            _print_columns(console, heads[i], widths)
            text = headlines.brief(verdict) if verdict else one_line(claim.statement) if claim else ""
            flags = ", ".join(overview.flags(verdict)) if verdict else ""
            console.print(Padding.indent(Text.assemble(text, (f" ({flags})" if flags else "", "dim")), 2))
        if own:
            console.print()
    if judged:
        _print(console, overview.legend(judged, ascii_only=ascii_only), "dim")
        grades = {verdict.grade for verdict in judged}
        for grade, meaning in overview.GRADES.items() if grades & {*overview.GRADES} else ():
            _print(console, f"{grade}  {meaning}", "dim")
        for reason in dict.fromkeys(map(headlines.outdated_label, judged)):
            _print(console, reason, "dim")
        console.print()


def _row_head(claim: Claim | None, verdict: Verdict | None, *, ascii_only: bool) -> list[Text]:
    """Name, verdict, grade, seeds and cells of a claim."""
    if verdict is None:
        assert claim is not None
        cost = Text(one_line(claim.cost), style="dim")
        return [Text(one_line(claim.name), style="bold"), Text("not judged", style="dim"), Text(), Text(), cost]
    outcome = Text(verdict.outcome, style=COLORS[verdict.outcome])
    rest = overview.grade_label(verdict), overview.seeds_label(verdict), overview.strip(verdict, ascii_only=ascii_only)
    return [Text(verdict.claim, style="bold"), outcome, *map(Text, rest)]


def _print_columns(console: Console, texts: Sequence[Text], widths: Sequence[int]) -> None:
    line = Text()
    for text, width in zip(texts, widths, strict=True):
        line.append_text(text).append(" " * (width + 2 - len(text)))
    line.rstrip()
    console.print(line, overflow="fold")


def rule(console: Console, claim: Claim) -> None:
    """Print a claim that has no verdict: its statement, the rule that will decide it, and its runs."""
    from normexp.claims.judge import first_look  # SciPy takes a while

    _print_head(console, claim.name, claim)
    _print(console, "not judged yet\n")
    for text in _texts(claim):
        _print(console, f"{text}\n")
    _print_rule_size(console, claim.rule, claim.combine)
    for condition in map(ConditionVerdict.of, claim.rule):
        _print_condition(console, condition)
    _print_requirements(console, list(map(ConditionVerdict.of, claim.requires)))
    if claim.sweep is not None:
        runs = first_look(claim)
        choosing = sum(seed in claim.choosing_seeds for *_, seed in runs)
        chosen = f", {choosing} of them to choose values" * (choosing > 0)
        looks = ", ".join(map(str, claim.looks))
        more = f"; cells that stay undecided get more seeds, up to {claim.looks[-1]}" * (len(claim.looks) > 1)
        rows = facts.setup_rows(describe_setup(claim))
        rows |= {"seeds": f"{claim.seeds[0]} to {claim.seeds[-1]}, judged after {looks}"}
        rows |= {"runs": f"{len(runs)}{chosen}{more}", "cost": one_line(claim.cost)}
        console.print()
        _print_pairs(console, rows)
    console.print()


def evidence(console: Console, verdict: Verdict, *, saved: str | None = None) -> None:
    """Print a verdict with all its evidence, the folder of its runs and the command that repeats it.

    saved: for a verdict that was computed only to be shown, the state of the one on disk.
    """
    _print_head(console, verdict.claim, verdict)
    strip = overview.strip(verdict, ascii_only=console.options.ascii_only)
    first = Text(f"{saved}; computed now: " if saved else "").append_text(_outcome(verdict))
    console.print(first.append(f"  {strip}" if len(strip) > 1 else ""), overflow="fold")
    _print(console, f"{headlines.outdated_label(verdict)} {headlines.explain(verdict)}".lstrip())
    for line in overview.trust(verdict):
        _print(console, line)
    for table in verdict.tables:
        console.print()
        _print_table(console, table)
    if verdict.drawing:
        console.print(Text(f"\n{verdict.drawing}"), soft_wrap=True)
    for text in _texts(verdict):
        console.print(Text(f"\n{text}"))
    console.print()
    _print_rule_size(console, verdict.conditions, verdict.combine)
    if verdict.kind == "exact":
        _print_exact_conditions(console, verdict)
    else:
        for condition in verdict.conditions:
            _print_condition(console, condition)
            print_forest(console, condition)
            _print_cells(console, verdict, condition)
    _print_requirements(console, verdict.requires)
    if verdict.requires:
        console.print()
    known = facts.setup_rows(verdict.setup) | facts.facts(verdict)
    known.pop("scale", None)  # the line of the outcome has it
    _print_pairs(
        console, known | {"folder": verdict.folder or "", "run it" if saved else "rerun": facts.rerun_command(verdict)}
    )


def _texts(of: Claim | Verdict) -> list[str]:
    """The paragraphs of a claim: background, comparison, and conditions for another verdict."""
    changes = f"What would change the verdict: {of.would_change}" if of.would_change else ""
    texts = of.background, of.explanation, changes
    return [line for text in texts for part in text.split("\n\n") if (line := one_line(part))]


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


def _new_table(*heads: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for head in heads:
        table.add_column(head, overflow="fold", no_wrap=head == "verdict")
    return table


def _print_exact_conditions(console: Console, verdict: Verdict) -> None:
    """Print the conditions of an exact claim as one table: each has a single cell."""
    table = _new_table("condition", "verdict", "value [over seeds]", "rule")
    for condition, cell in verdict.cells:
        outcome = Text(cell.outcome, style=COLORS[cell.outcome])
        note = f"\n{cell.note}" if cell.note else ""
        effect = Text.assemble(wording.format_effect(condition, cell), (note, "dim"))
        table.add_row(Text(one_line(condition.what)), outcome, effect, Text(rule_words.format_rule(condition)))
    console.print(table, "")


def _print_cells(console: Console, verdict: Verdict, condition: ConditionVerdict) -> None:
    for cell in condition.cells:
        label, effect = wording.cell_label(cell), wording.format_effect(condition, cell)
        numbers = f", {effect}, {wording.plural(wording.seed_count(verdict, cell), 'seed')}"
        outcome = cell.outcome, COLORS[cell.outcome]
        console.print(Text.assemble("  ", f"{label}: " if label else "", outcome, numbers), overflow="fold")
        for detail in _cell_details(verdict, condition, cell):
            console.print(Padding.indent(Text(detail, style="dim"), 6))
    console.print()


def _cell_details(verdict: Verdict, condition: ConditionVerdict, cell: Cell) -> list[str]:
    """The chance that a new seed agrees, the effect at each look, the seeds' values, what would decide, and notes."""
    sign = overview.same_sign_label([(condition, cell)])
    looks = wording.look_lines(condition, cell) if len(cell.looks) > 1 else []
    values, notes = wording.arm_lines(condition, cell), wording.cell_notes(verdict, condition, cell)
    return [*[f"same sign in a new seed: {sign}"] * bool(sign), *looks, *values, *notes]


def _print_rule_size(console: Console, conditions: Sequence[Condition | ConditionVerdict], combine: str) -> None:
    """Print '3 conditions; all must hold', if there are several."""
    if len(conditions) > 1:
        _print(console, f"{len(conditions)} conditions; {rule_words.combine_label(combine, conditions)}", "dim")


def _print_condition(console: Console, condition: ConditionVerdict) -> None:
    _print(console, one_line(condition.what), "bold")
    _print(console, one_line(rule_words.describe_condition(condition)), "dim")


def _print_requirements(console: Console, requires: Sequence[ConditionVerdict]) -> None:
    for required in requires:
        _print(console, f"requires: {rule_words.describe_requirement(required)}", "dim")


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
    """'confirmed, CIFAR-10, full scale, outdated', with the outcome in color."""
    labels = [facts.scale_label(verdict), "outdated" * headlines.is_outdated(verdict)]
    return Text.assemble((verdict.outcome, COLORS[verdict.outcome]), *(f", {label}" for label in labels if label))


def _print(console: Console, line: str, style: str = "") -> None:
    if line:
        console.print(Text(line, style=style))
