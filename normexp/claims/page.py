"""HTML page of claims: a summary table and a card per claim, in one self-contained file made from verdicts only."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from normexp.claims import headline as headlines
from normexp.claims import verdict as claims
from normexp.claims import wording
from normexp.claims.figures import draw
from normexp.claims.schema import Value, is_number
from normexp.claims.verdict import OUTCOMES, ConditionVerdict, Outcome, Verdict, one_line
from normexp.html import Cell, Section, Table, link, render
from normexp.plotting.labels import file_stem
from normexp.plotting.style import figure_style
from normexp.plotting.svg import inline_svg
from normexp.report.groups import format_value
from normexp.rundir import atomic

TEMPLATE = Path(__file__).parent / "templates" / "claims.html.j2"

SIGNS: dict[Outcome, str] = {"confirmed": "✓", "refuted": "✗", "inconclusive": "?", "not comparable": "-"}

MINUS = re.compile(r"(?<![\w.])-(?=\d)|(?<=\de)-(?=\d)")

MAX_UNFOLDED_CELLS = 6
"""Tables with more cells are folded to keep the cards short."""


def write(path: Path, verdicts: Sequence[Verdict], pending: Sequence[str]) -> None:
    """Write the page atomically. pending: names of claims without a verdict. Raises OSError if the file can't be written."""
    anchors: list[str] = []  # unique ids of the cards
    for i, verdict in enumerate(verdicts):
        anchor = f"claim-{file_stem(verdict.claim)}"
        anchors.append(f"{anchor}-{i}" if anchor in anchors else anchor)
    sections = [Section("summary", "Summary", "summary.html.j2", _summary(verdicts, anchors))] if verdicts else []
    with figure_style():
        for kind, heading in (("experiment", "Experiments"), ("exact", "Exact claims")):
            pairs = [pair for pair in zip(verdicts, anchors, strict=True) if pair[0].kind == kind]
            if cards := [_card(verdict, anchor=anchor, page=path) for verdict, anchor in pairs]:
                sections.append(Section(kind, heading, "cards.html.j2", cards))
    if pending:
        sections.append(Section("pending", "Not judged yet", "pending.html.j2", [one_line(name) for name in pending]))
    sections.append(Section("reading", "How to read this page", "reading.html.j2", list(map(_badge, OUTCOMES))))
    days = sorted(verdict.judged_at[:10] for verdict in verdicts if verdict.judged_at)
    dates = f", {' to '.join(dict.fromkeys([days[0], days[-1]]))}" if days else ""
    waiting = f"; {wording.plural(len(pending), 'claim')} not judged yet" if pending else ""
    outcomes = [verdict.outcome for verdict in verdicts]
    text = render(
        TEMPLATE,
        title="Claims about normalization",
        overview=f"{wording.plural(len(verdicts), 'claim')} judged{dates}{waiting}.",
        quick=sum(verdict.quick for verdict in verdicts),
        counts={outcome: outcomes.count(outcome) for outcome in OUTCOMES},
        sections=sections,
    )
    atomic.write_bytes(path, text.encode("utf-8", "replace"))  # names may have lone surrogates


def _summary(verdicts: Sequence[Verdict], anchors: Sequence[str]) -> Table:
    rows = []
    for verdict, anchor in zip(verdicts, anchors, strict=True):
        effect, rule, seeds = headlines.format_headline(verdict)
        warning = ", ".join(["quick"] * verdict.quick + ["outdated"] * headlines.is_outdated(verdict))
        position = "\n".join(filter(None, (headlines.headline_label(verdict), headlines.tally(verdict))))
        claim = Cell(verdict.claim, verdict.claim, "text", href=f"#{anchor}", part=verdict.statement)
        badge = _badge(verdict.outcome, sort_by=OUTCOMES.index(verdict.outcome), part=warning)
        number, scale = Cell(_typeset(effect), kind="effect", part=position), verdict.scale * (verdict.kind != "exact")
        rows.append([claim, badge, number, Cell(_typeset(rule)), Cell(str(seeds), kind="number"), Cell(scale)])
    return Table(["claim", "verdict", "effect [interval]", "rule", "seeds", "scale"], rows)


def _card(verdict: Verdict, *, anchor: str, page: Path) -> dict[str, Any]:
    """The content of a card for cards.html.j2. page: the file that links to the runs are relative to."""
    figure, head = draw(verdict, name=f"figure-{anchor}"), headlines.headline(verdict)
    effect, rule, seeds = headlines.format_headline(verdict)
    rule = f"rule: {rule}{wording.unit(head[0]) if head else ''}; {wording.plural(seeds, 'seed')}"
    cells = list(verdict.cells)
    sizes = [wording.plural(len(verdict.conditions), "condition")]
    sizes += [wording.plural(len(cells), "cell")] if not _single_cells(verdict) else []
    sizes += [wording.combine_label(verdict.combine, verdict.conditions)] if len(cells) > 1 else []
    return {
        "verdict": verdict,
        "anchor": anchor,
        "badge": _badge(verdict.outcome),
        "effect": (_typeset(effect) if head[1].effect is not None else "undefined") if head else "",
        "because": _typeset(verdict.because),
        "rule": _typeset(rule),
        "paragraphs": [text for part in verdict.explanation.split("\n\n") if (text := one_line(part))],
        "svg": inline_svg(figure) if figure else "",
        "caption": figure.caption if figure else "",
        "summary": ", ".join(sizes),
        "conditions": _conditions(verdict),
        "unfolded": len(cells) <= MAX_UNFOLDED_CELLS,
        "tables": [
            Table(table.columns, [list(map(_value_cell, row)) for row in table.rows], title=table.title)
            for table in verdict.tables
        ],
        "facts": wording.facts(verdict),
        "folder_link": link(Path(verdict.folder), page) if verdict.folder else "",
    }


def _badge(outcome: Outcome, *, sort_by: float | None = None, part: str = "") -> Cell:
    """Sign and name of an outcome, in its color. part: a warning below it."""
    text = f"{SIGNS[outcome]} {outcome}"
    return Cell(text, sort_by, kind="warned" if part else "", badge=outcome.replace(" ", "-"), part=part)


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
    sizes = [cell.effect_size for _, cell in pairs]
    lines = [_typeset("\n".join(wording.arm_lines(*pair))) for pair in pairs]
    columns: dict[str, Sequence[Cell]] = {
        **names,
        "verdict": [_badge(cell.outcome) for _, cell in pairs],
        "effect [interval]": [Cell(_typeset(wording.format_effect(*pair)), pair[1].effect) for pair in pairs],
        "effect size": [Cell("-" if d is None else f"{d:.1f}", d, "number") for d in sizes],
        "seeds": [Cell(str(wording.seed_count(verdict, cell)), kind="number") for _, cell in pairs],
        f"each seed{' (%)' if percent else ''}": [Cell(line, kind="lines") for line in lines],
        "note": [Cell(cell.note or "", kind="text") for _, cell in pairs],
    }
    empty = [head for head, cells in columns.items() if all(not c.part and c.text in ("", "-") for c in cells)]
    shown = {head: cells for head, cells in columns.items() if head not in empty}
    return Table(list(shown), list(zip(*shown.values(), strict=True)))


def _about(condition: ConditionVerdict) -> str:
    return _typeset(wording.describe_condition(condition))


def _value_cell(value: Value) -> Cell:
    if is_number(value):
        return Cell(_typeset(wording.format_table_value(value)), value, "number")
    if value in (None, "-"):
        return Cell("-", kind="number")
    return Cell(format_value(value))
