"""HTML page of claims: one file that needs no network, made from verdicts only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from normexp.claims.page_cards import badge, build_card, typeset
from normexp.claims.verdict import OUTCOMES, Verdict, one_line
from normexp.claims.wording import (
    MEANINGS,
    format_effect,
    format_rule,
    headline,
    headline_label,
    judged_time,
    plural,
    seed_count,
)
from normexp.html import Cell, Section, Table, render
from normexp.plotting.labels import file_stem
from normexp.plotting.style import figure_style
from normexp.rundir import atomic

TEMPLATE = Path(__file__).parent / "templates" / "claims.html.j2"

CARD_SECTIONS = {
    "experiment": ("Experiments", "Networks trained for the claim, once a seed; the rule was there before the runs."),
    "exact": ("Exact", "Identities and numbers, computed in float64 from several seeds."),
}
"""Title and lead of the section of each kind of claim."""


def write(
    path: Path, verdicts: Sequence[Verdict], pending: Sequence[str], *, title: str = "Claims about normalization"
) -> None:
    """Write the page atomically. pending: names of claims without a verdict. Raises OSError if the file can't be written."""
    anchors = _anchors(verdicts)
    sections = []
    if verdicts:
        sections.append(Section("summary", "Summary", "summary.html.j2", _summary(verdicts, anchors)))
    with figure_style():
        for kind, (heading, lead) in CARD_SECTIONS.items():
            pairs = [pair for pair in zip(verdicts, anchors, strict=True) if pair[0].kind == kind]
            cards = [build_card(verdict, anchor=anchor, page=path) for verdict, anchor in pairs]
            if cards:
                sections.append(Section(kind, heading, "cards.html.j2", (lead, cards)))
    if pending:
        sections.append(Section("pending", "Not judged yet", "pending.html.j2", [one_line(name) for name in pending]))
    meanings = [(badge(outcome), meaning) for outcome, meaning in MEANINGS.items()]
    sections.append(Section("reading", "How to read it", "reading.html.j2", meanings))
    counts = Counter(verdict.outcome for verdict in verdicts)
    text = render(
        TEMPLATE,
        title=title,
        overview=_overview(verdicts, pending),
        quick=sum(verdict.quick for verdict in verdicts),
        counts={outcome: counts[outcome] for outcome in OUTCOMES},
        sections=sections,
    )
    atomic.write_bytes(path, text.encode("utf-8", "replace"))  # names may have lone surrogates


def _anchors(verdicts: Sequence[Verdict]) -> list[str]:
    """Unique ids of the cards, from the names of the claims."""
    anchors: list[str] = []
    for i, verdict in enumerate(verdicts):
        name = f"claim-{file_stem(verdict.claim)}"
        anchors.append(f"{name}-{i}" if name in anchors else name)
    return anchors


def _overview(verdicts: Sequence[Verdict], pending: Sequence[str]) -> str:
    """A sentence on how many claims were judged, and when."""
    days = sorted(time[:10] for time in map(judged_time, verdicts) if time)
    judged = f", {' to '.join(dict.fromkeys([days[0], days[-1]]))}" if days else ""
    waiting = f"; {plural(len(pending), 'claim')} not yet" if pending else ""
    return f"{plural(len(verdicts), 'claim')} judged{judged}{waiting}."


def _summary(verdicts: Sequence[Verdict], anchors: Sequence[str]) -> Table:
    rows = []
    for verdict, anchor in zip(verdicts, anchors, strict=True):
        head = headline(verdict)
        effect, rule = (typeset(format_effect(*head)), typeset(format_rule(head[0]))) if head else ("-", "-")
        rows.append(
            [
                Cell(verdict.claim, verdict.claim, "text", href=f"#{anchor}", part=verdict.statement),
                badge(verdict.outcome, sort_by=OUTCOMES.index(verdict.outcome), quick=verdict.quick),
                Cell(effect, kind="effect", part=headline_label(verdict)),
                Cell(rule),
                Cell(seed_count(verdict, head[1] if head else None), kind="number"),
                Cell("-" if verdict.kind == "exact" else verdict.scale),
            ]
        )
    return Table(["claim", "verdict", "effect [interval]", "rule", "seeds", "scale"], rows)
