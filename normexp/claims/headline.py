"""The headline of a verdict: its deciding cell, the tally of all cells, and whether it is outdated."""

import math
from collections import Counter
from dataclasses import replace

from normexp.claims.schema import Claim
from normexp.claims.verdict import OUTCOMES, Cell, ConditionVerdict, Verdict
from normexp.claims.wording import cell_label, format_effect, format_rule, percent_factor, seed_count, unit
from normexp.config import printable
from normexp.plotting.labels import truncate

OUTDATED = "Outdated: the rule or the code has changed since; run the claim again."
"""Start of the explanation of an outdated verdict."""


def headline(verdict: Verdict) -> tuple[ConditionVerdict, Cell] | None:
    """The condition and cell that decided the claim; None without cells.

    Of the cells with the claim's outcome, the one nearest to the line; of an exact claim, whose numbers may lie on the line, the
    first.
    """
    cells = list(verdict.cells)
    deciding = [(condition, cell) for condition, cell in cells if condition.decides] or cells
    same = [(condition, cell) for condition, cell in deciding if cell.outcome == verdict.outcome] or deciding
    if verdict.kind == "exact":
        return same[0] if same else None
    return min(same, key=lambda pair: _clearance(*pair), default=None)


def format_headline(verdict: Verdict) -> tuple[str, str, int]:
    """Effect, rule and number of seeds of the headline; '-' without cells."""
    head = headline(verdict)
    if head is None:
        return "-", "-", len(verdict.seeds)
    return format_effect(*head), format_rule(head[0]), seed_count(verdict, head[1])


def headline_label(verdict: Verdict) -> str:
    """'activation=relu' or the condition's name; empty if a single cell decides."""
    head = headline(verdict) if tally(verdict) else None
    return truncate(cell_label(head[1]) or head[0].what, 200) if head else ""


def tally(verdict: Verdict) -> str:
    """'all 7 conditions confirmed', '1 of 4 cells refuted, 3 confirmed'; empty unless several cells decide."""
    deciding = [condition for condition in verdict.conditions if condition.decides]
    outcomes = [cell.outcome for condition in deciding for cell in condition.cells]
    total, noun = len(outcomes), "conditions" if len(outcomes) == len(deciding) else "cells"
    if total < 2:
        return ""
    counts = Counter(outcomes)
    if len(counts) == 1:
        return f"{'both' if total == 2 else f'all {total}'} {noun} {outcomes[0]}"
    first, *others = sorted(counts, key=lambda outcome: (outcome != verdict.outcome, OUTCOMES.index(outcome)))
    return ", ".join([f"{counts[first]} of {total} {noun} {first}", *(f"{counts[o]} {o}" for o in others)])


def explain(verdict: Verdict) -> str:
    """The headline in a sentence (effect, rule, and which cell it is), and the tally."""
    head = headline(verdict)
    if head is None:
        return ""
    condition, cell = head
    where = f" ({label})" if (label := cell_label(cell)) else ""
    effect = cell.note if cell.outcome == "not comparable" else format_effect(condition, cell)
    beyond = condition.refuted_beyond
    refuted = "" if beyond is None else f", refuted beyond {percent_factor(condition) * beyond:g}"
    count = f" {_capitalize(text)}." if (text := tally(verdict)) else ""
    rule = f"{format_rule(condition)}{unit(condition)}{refuted}"
    return printable(f"{_capitalize(condition.what)}{where}: {effect}; rule: {rule}.{count}")


def _capitalize(text: str) -> str:
    """A capital first letter, unless the text starts with a name such as 'bn' or 'dl/dx'."""
    first = text.partition(" ")[0].rstrip(",:")
    return text[:1].upper() + text[1:] if first.isalpha() and len(first) > 2 else text


def reworded(verdict: Verdict, claim: Claim) -> Verdict:
    """A verdict on the claim's current rule, with the current sentences of the claim's file."""
    if len(verdict.conditions) != len(claim.rule):  # a damaged file
        return verdict
    conditions = [replace(old, what=new.what) for old, new in zip(verdict.conditions, claim.rule, strict=True)]
    words = {name: getattr(claim, name) for name in ("statement", "source", "explanation")}
    verdict = replace(verdict, conditions=conditions, **words)
    return replace(verdict, because=explain(verdict))


def outdated(verdict: Verdict) -> Verdict:
    """The verdict, marked as one of an earlier rule or code."""
    return replace(verdict, because=f"{OUTDATED} {verdict.because}")


def is_outdated(verdict: Verdict) -> bool:
    """Whether the verdict is marked as outdated."""
    return verdict.because.startswith(OUTDATED)


def _clearance(condition: ConditionVerdict, cell: Cell) -> float:
    """Distance from the nearer end of an interval to the line, in widths of the interval."""
    low, high, line = cell.low, cell.high, condition.threshold
    if low is None or high is None or line is None:
        return math.inf
    margin = condition.margin or 0.0
    nearer = min(abs(end - edge) for end in (low, high) for edge in (line - margin, line + margin))
    return nearer / ((high - low if high > low else abs(line)) or 1.0)
