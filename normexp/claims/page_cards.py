"""Card of a claim on the HTML page: the statement, the outcome, the figure, the numbers, and how to run it again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from normexp.claims import verdict as verdicts
from normexp.claims.figures import draw
from normexp.claims.schema import Value, is_number
from normexp.claims.verdict import ConditionVerdict, Outcome, Verdict, one_line
from normexp.claims.wording import (
    SIGNS,
    arm_lines,
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
from normexp.html import Cell, Table, link
from normexp.plotting.style import DrawnFigure
from normexp.plotting.svg import inline_svg
from normexp.report.groups import format_value

MINUS = re.compile(r"(?<![\w.])-(?=\d)|(?<=\de)-(?=\d)")

MAX_UNFOLDED_CELLS = 6
"""Tables of more cells are folded, so that cards stay short."""


@dataclass(frozen=True)
class TitledTable:
    """A table below its title (None: without a title) and a sentence."""

    title: str | None
    table: Table | None
    about: str = ""


@dataclass(frozen=True, kw_only=True)
class Card:
    """A verdict as its card shows it.

    anchor: id of the card. effect, rule: of the cell that decided; empty without cells. summary: sizes of the tables in
    `conditions`. unfolded: whether these are visible at first. facts: how the verdict came about, by term.
    """

    verdict: Verdict
    anchor: str
    badge: Cell
    effect: str
    rule: str
    paragraphs: list[str]
    figure: DrawnFigure | None
    svg: str
    summary: str
    conditions: list[TitledTable]
    unfolded: bool
    tables: list[TitledTable]
    facts: dict[str, str]
    folder_link: str


def build_card(verdict: Verdict, *, anchor: str, page: Path) -> Card:
    """Build the card. page: file that links to the runs are relative to. Needs a `figure_style` context."""
    figure = draw(verdict, name=f"figure-{anchor}")
    effect, rule = _headline(verdict)
    return Card(
        verdict=verdict,
        anchor=anchor,
        badge=badge(verdict.outcome),
        effect=effect,
        rule=rule,
        paragraphs=[text for part in verdict.explanation.split("\n\n") if (text := one_line(part))],
        figure=figure,
        svg=inline_svg(figure) if figure else "",
        summary=_summary(verdict),
        conditions=_conditions(verdict),
        unfolded=len(list(verdict.cells)) <= MAX_UNFOLDED_CELLS,
        tables=[
            TitledTable(
                table.title, Table(table.columns, [[_value_cell(value) for value in row] for row in table.rows])
            )
            for table in verdict.tables
        ],
        facts=_facts(verdict),
        folder_link=link(Path(verdict.folder), page) if verdict.folder else "",
    )


def badge(outcome: Outcome, *, sort_by: float | None = None, quick: bool = False) -> Cell:
    """Sign and name of an outcome, in its colour."""
    css_class = outcome.replace(" ", "-")
    part = "quick" if quick else ""
    return Cell(f"{SIGNS[outcome]} {outcome}", sort_by, kind=part, badge=css_class, part=part)


def typeset(text: str) -> str:
    """Replace >=, <= and minus signs by their typographic forms."""
    return MINUS.sub("\u2212", text.replace(">=", "≥").replace("<=", "≤"))


def _headline(verdict: Verdict) -> tuple[str, str]:
    """Effect and rule of the cell that decided."""
    head = headline(verdict)
    if head is None:
        return "", ""
    condition, cell = head
    effect, n, where = format_effect(condition, cell), seed_count(verdict, cell), headline_label(verdict)
    rule = f"rule {typeset(format_rule(condition))}{unit(condition)}; {n} {'seed' if n == '1' else 'seeds'}"
    return typeset(effect) if effect != "-" else "not defined", f"{rule}; {where}" if where else rule


def _single_cells(verdict: Verdict) -> bool:
    """Whether every condition has one cell without axes, so that all fit one table."""
    return all(len(condition.cells) == 1 and not condition.cells[0].point for condition in verdict.conditions)


def _summary(verdict: Verdict) -> str:
    """'2 conditions, 30 cells, all must hold'."""
    total = len(list(verdict.cells))
    parts = [plural(len(verdict.conditions), "condition")]
    parts += [plural(total, "cell")] if not _single_cells(verdict) else []
    if total > 1:
        parts.append("any of them suffices" if verdict.combine == "any" else "all must hold")
    return ", ".join(parts)


def _conditions(verdict: Verdict) -> list[TitledTable]:
    """One table of all conditions if each has a single cell, else one per condition."""
    if _single_cells(verdict):
        pairs = list(verdict.cells)
        names = [Cell(condition.what, kind="text", part=_about(condition)) for condition, _ in pairs]
        return [TitledTable(None, _cell_table(verdict, pairs, {"condition": names}))] if pairs else []
    tables = []
    for condition in verdict.conditions:
        axes = dict.fromkeys(axis for cell in condition.cells for axis in cell.point)
        points = {axis: [_value_cell(cell.point.get(axis)) for cell in condition.cells] for axis in axes}
        table = _cell_table(verdict, [(condition, cell) for cell in condition.cells], points)
        tables.append(TitledTable(condition.what, table, _about(condition)))
    return tables


def _cell_table(
    verdict: Verdict, pairs: Sequence[tuple[ConditionVerdict, verdicts.Cell]], names: Mapping[str, Sequence[Cell]]
) -> Table | None:
    """One row per cell, without empty columns. names: the columns that tell the cells apart."""
    percent = "condition" not in names and any(percent_factor(condition) > 1 for condition, _ in pairs)
    columns: dict[str, Sequence[Cell]] = {
        **names,
        "verdict": [badge(cell.outcome) for _, cell in pairs],
        "effect [interval]": [Cell(typeset(format_effect(*pair)), _sort_key(pair[1].effect)) for pair in pairs],
        "effect size": [
            Cell("-" if cell.effect_size is None else f"{cell.effect_size:.1f}", _sort_key(cell.effect_size), "number")
            for _, cell in pairs
        ],
        "seeds": [Cell(seed_count(verdict, cell), kind="number") for _, cell in pairs],
        f"each seed{' (%)' if percent else ''}": [
            Cell(typeset("\n".join(arm_lines(cell, percent_factor(condition)))), kind="lines")
            for condition, cell in pairs
        ],
        "note": [Cell(cell.note or "", kind="text") for _, cell in pairs],
    }
    shown = {
        head: cells for head, cells in columns.items() if any(cell.part or cell.text not in ("", "-") for cell in cells)
    }
    return Table(list(shown), list(zip(*shown.values(), strict=True))) if pairs else None


def _about(condition: ConditionVerdict) -> str:
    """'difference in test accuracy, bn - none: ≥ 3 points; 97.5 % interval'."""
    levels = interval_levels(condition)
    return (
        f"{describe_comparison(condition)}: {typeset(format_rule(condition))}{unit(condition)}"
        + (f"; {levels} interval" if levels else "")
        + ("" if condition.decides else "; reported, does not decide")
    )


def _facts(verdict: Verdict) -> dict[str, str]:
    runs = str(verdict.runs or "no training")
    facts = {
        "runs": f"{runs}, {duration(verdict.seconds)}" if verdict.runs or verdict.seconds is not None else "",
        "seeds": ", ".join(map(str, verdict.seeds)),
        "scale": "" if verdict.kind == "exact" else scale_label(verdict),
        "judged": judged_time(verdict),
        "made with": versions_line(verdict),
        "rule": fingerprints_line(verdict),
    }
    return {term: value for term, value in facts.items() if value}


def _value_cell(value: Value) -> Cell:
    if is_number(value):
        return Cell(typeset(format_table_value(value)), value, "number")
    if value in (None, "-"):
        return Cell("-", "", "number")
    return Cell(format_value(value))


def _sort_key(number: float | None) -> float | str:
    return "" if number is None else number
