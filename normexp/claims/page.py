"""HTML page of claims: a summary and a card per claim, by group, in one self-contained file made from verdicts only."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from normexp.claims import facts, overview, rule_words, wording
from normexp.claims import headline as headlines
from normexp.claims import verdict as claims
from normexp.claims.figures import draw
from normexp.claims.overview import SIGNS
from normexp.claims.schema import Value, is_number
from normexp.claims.verdict import OUTCOMES, ConditionVerdict, Outcome, Verdict, one_line
from normexp.html import Cell, Section, Table, inline_code, link, render
from normexp.plotting.labels import file_stem
from normexp.plotting.style import figure_style
from normexp.plotting.svg import inline_svg
from normexp.report.groups import format_value
from normexp.rundir import atomic

TEMPLATE = Path(__file__).parent / "templates" / "claims.html.j2"

MINUS = re.compile(r"(?<![\w.])-(?=\d)|(?<=\de)-(?=\d)")

MAX_UNFOLDED_CELLS = 6
"""Tables with more cells are folded to keep the cards short."""


def write(path: Path, verdicts: Sequence[Verdict], pending: Sequence[str]) -> None:
    """Write the page atomically. pending: names of claims without a verdict. Raises OSError if the file can't be written."""
    anchors: list[str] = []  # unique ids of the cards
    for i, verdict in enumerate(verdicts):
        anchor = f"claim-{file_stem(verdict.claim)}"
        anchors.append(f"{anchor}-{i}" if anchor in anchors else anchor)
    with figure_style():
        cards = [_card(verdict, anchor=anchor, page=path) for verdict, anchor in zip(verdicts, anchors, strict=True)]
    groups = {group: [card for card in cards if card["verdict"].group == group] for group in overview.GROUPS}
    groups = {group: own for group, own in groups.items() if own}
    sections = [Section("summary", "Summary", "summary.html.j2", groups)] if verdicts else []
    sections += [Section(group, group.capitalize(), "cards.html.j2", own) for group, own in groups.items()]
    if pending:
        sections.append(Section("pending", "Not judged yet", "pending.html.j2", [one_line(name) for name in pending]))
    reading = {"badges": list(map(_badge, OUTCOMES)), "grades": overview.GRADES}
    sections.append(Section("reading", "How to read this page", "reading.html.j2", reading))
    days = sorted(verdict.judged_at[:10] for verdict in verdicts if verdict.judged_at)
    dates = f", {' to '.join(dict.fromkeys([days[0], days[-1]]))}" if days else ""
    waiting = f"; {wording.plural(len(pending), 'claim')} not judged yet" if pending else ""
    outcomes = [verdict.outcome for verdict in verdicts]
    text = render(
        TEMPLATE,
        title="Claims about normalization",
        overview=f"{wording.plural(len(verdicts), 'claim')} judged{dates}{waiting}.",
        errors=overview.expected_errors(verdicts),
        exploratory=any(verdict.exploratory for verdict in verdicts),
        quick=sum(verdict.quick for verdict in verdicts),
        counts={outcome: outcomes.count(outcome) for outcome in OUTCOMES},
        sections=sections,
    )
    atomic.write_bytes(path, text.encode("utf-8", "replace"))  # names may have lone surrogates


def _card(verdict: Verdict, *, anchor: str, page: Path) -> dict[str, Any]:
    """The content of a card and of its row in the summary. page: the file that links to the runs are relative to."""
    figure, cells = draw(verdict, name=f"figure-{anchor}"), list(verdict.cells)
    sizes = [wording.plural(len(verdict.conditions), "condition")]
    sizes += [wording.plural(len(cells), "cell")] if not _single_cells(verdict) else []
    sizes += [rule_words.combine_label(verdict.combine, verdict.conditions)] if len(cells) > 1 else []
    return {
        "verdict": verdict,
        "anchor": anchor,
        "badge": _badge(verdict.outcome),
        "headline": _typeset(headlines.headline(verdict, max_length=headlines.MAX_EXPLANATION)),
        "brief": _typeset(headlines.brief(verdict)),
        "strip": _strip(verdict),
        "grade": overview.grade_label(verdict),
        "scale": facts.scale_label(verdict),
        "flags": [flag for flag in overview.flags(verdict) if flag != "full scale"],
        "trust": {term: _typeset(text) for term, text in _trust(verdict).items() if text},
        "outdated": headlines.outdated_label(verdict),
        "background": _paragraphs(verdict.background),
        "paragraphs": _paragraphs(verdict.explanation),
        "would_change": _paragraphs(verdict.would_change),
        "svg": inline_svg(figure) if figure else "",
        "caption": figure.caption if figure else "",
        "summary": ", ".join(sizes),
        "conditions": _conditions(verdict),
        "requires": [_typeset(rule_words.describe_requirement(required)) for required in verdict.requires],
        "command": facts.rerun_command(verdict),
        "unfolded": len(cells) <= MAX_UNFOLDED_CELLS,
        "tables": [
            Table(table.columns, [list(map(_value_cell, row)) for row in table.rows], title=table.title)
            for table in verdict.tables
        ],
        "facts": {**facts.setup_rows(verdict.setup), **_facts(verdict)},
        "folder_link": link(Path(verdict.folder), page) if verdict.folder else "",
    }


def _paragraphs(text: str) -> list[Markup]:
    return [inline_code(line) for part in text.split("\n\n") if (line := one_line(part))]


def _facts(verdict: Verdict) -> dict[str, str]:
    return {term: text for term, text in facts.facts(verdict).items() if term != "scale"}  # which is above


def _trust(verdict: Verdict) -> dict[str, str]:
    """The certainty of a verdict, by term."""
    sign = overview.same_sign_label(overview.deciding_pairs(verdict))
    return {
        "cells": headlines.tally(verdict),
        "undecided": headlines.outlook(verdict),
        "grade": overview.grade_sentence(verdict),
        "seeds": overview.seeds_label(verdict).replace("-", " to ")
        + " per cell" * ("-" in overview.seeds_label(verdict)),
        "new seed": f"same sign with probability {sign}" if sign else "",
        "scale": facts.scale_label(verdict),
    }


def _strip(verdict: Verdict) -> list[list[Cell]]:
    """A sign per cell of each deciding condition, with its effect as a tooltip (`part`)."""
    return [
        [
            Cell(
                SIGNS[cell.outcome],
                kind=_css_class(cell.outcome),
                part=_typeset(
                    f"{wording.cell_label(cell) or condition.what}: {cell.outcome}, {wording.format_effect(condition, cell)}"
                ),
            )
            for cell in condition.cells
        ]
        for condition in verdict.conditions
        if condition.decides and condition.cells
    ]


def _css_class(outcome: Outcome) -> str:
    return outcome.replace(" ", "-")


def _badge(outcome: Outcome) -> Cell:
    """Sign and name of an outcome, in its color."""
    return Cell(f"{SIGNS[outcome]} {outcome}", badge=_css_class(outcome))


def _typeset(text: str) -> str:
    """Replace >=, <= and minus signs with their typographic forms."""
    return MINUS.sub("\u2212", text.replace(">=", "≥").replace("<=", "≤"))


def _single_cells(verdict: Verdict) -> bool:
    """Whether every condition has a single cell without axes, so all fit in one table."""
    return all(len(condition.cells) == 1 and not condition.cells[0].point for condition in verdict.conditions)


def _conditions(verdict: Verdict) -> list[Table]:
    """One table of all conditions if each has a single cell, else one per condition."""
    if _single_cells(verdict):
        pairs = list(verdict.cells)
        names = [Cell(condition.what, kind="text", part=_about(condition)) for condition, _ in pairs]
        return [_cell_table(verdict, pairs, {"condition": names})] if pairs else []
    tables = []
    for condition in verdict.conditions:
        axes = dict.fromkeys(axis for cell in condition.cells for axis in cell.point)
        points = {axis: [_value_cell(cell.point.get(axis)) for cell in condition.cells] for axis in axes}
        table = _cell_table(verdict, [(condition, cell) for cell in condition.cells], points)
        tables.append(replace(table, title=condition.what, about=_about(condition)))
    return tables


def _cell_table(
    verdict: Verdict, pairs: Sequence[tuple[ConditionVerdict, claims.Cell]], names: Mapping[str, Sequence[Cell]]
) -> Table:
    """One row per cell, without empty columns. names: the columns that tell the cells apart."""
    percent = "condition" not in names and any(wording.percent_factor(condition) > 1 for condition, _ in pairs)
    looks = [wording.look_lines(*pair) if len(pair[1].looks) > 1 else [] for pair in pairs]
    lines = [_typeset("\n".join(wording.arm_lines(*pair))) for pair in pairs]
    columns: dict[str, Sequence[Cell]] = {
        **names,
        "verdict": [_badge(cell.outcome) for _, cell in pairs],
        "effect [interval]": [
            Cell(_typeset(wording.format_effect(*pair)), pair[1].effect, part=_typeset("\n".join(of)))
            for pair, of in zip(pairs, looks, strict=True)
        ],
        "same sign": [Cell(overview.same_sign_label([pair]), overview.same_sign(*pair), "number") for pair in pairs],
        "seeds": [Cell(str(wording.seed_count(verdict, cell)), kind="number") for _, cell in pairs],
        f"each seed{' (%)' if percent else ''}": [Cell(line, kind="lines") for line in lines],
        "note": [Cell("; ".join(wording.cell_notes(verdict, *pair)), kind="text") for pair in pairs],
    }
    empty = [head for head, cells in columns.items() if all(not c.part and c.text in ("", "-") for c in cells)]
    shown = {head: cells for head, cells in columns.items() if head not in empty}
    return Table(list(shown), list(zip(*shown.values(), strict=True)))


def _about(condition: ConditionVerdict) -> str:
    return _typeset(rule_words.describe_condition(condition))


def _value_cell(value: Value) -> Cell:
    if is_number(value):
        return Cell(_typeset(wording.format_table_value(value)), value, "number")
    if value in (None, "-"):
        return Cell("-", kind="number")
    return Cell(format_value(value))
