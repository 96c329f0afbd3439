"""The HTML page of claims: one file that needs no network, of what verdicts say and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from normexp.claims.page_cards import badge, card, nice
from normexp.claims.sound import sound
from normexp.claims.wording import (
    MEANINGS,
    VERDICTS,
    Json,
    amount,
    asked,
    counted,
    headline,
    seeds,
    text,
    verdict_of,
    when,
)
from normexp.plotting.style import stem, style
from normexp.plotting.svg import esc
from normexp.report.page import document
from normexp.report.page_html import Cell, pairs, table
from normexp.rundir import atomic

TITLE = "Claims about normalization"

KINDS = {
    "experiment": ("Experiments", "Networks trained for the claim, once a seed; the rule was there before the runs."),
    "exact": ("Exact", "Identities and numbers, computed in float64 from several seeds."),
}
"""Title and lead of each kind's part."""


def write(path: Path, verdicts: Sequence[Json], pending: Sequence[str], *, title: str = TITLE) -> None:
    """Write the page, as a whole or not at all. pending: names of claims that have no verdict yet.

    Raises OSError where the file can't be written.
    """
    verdicts = [sound(verdict) for verdict in verdicts]
    names = _anchors(verdicts)
    colours: set[str] = set()
    parts = [("summary", "Summary", _summary(verdicts, names))] if verdicts else []
    with style():
        for kind, (head, lead) in KINDS.items():
            body = ""
            for verdict, name in zip(verdicts, names, strict=True):
                if (verdict.get("kind") == "exact") == (kind == "exact"):
                    made, own = card(verdict, anchor=name, page=path)
                    body, colours = body + made, colours | own
            if body:
                parts.append((kind, head, f'<p class="soft">{lead}</p>{body}'))
    if pending:
        items = "".join(f"<li><code>{esc(text(name))}</code></li>" for name in pending)
        lead = '<p class="soft">Claims without a verdict; <code>normexp claims run NAME</code> makes one.</p>'
        parts.append(("pending", "Not judged yet", f'{lead}<ul class="pending">{items}</ul>'))
    parts.append(("reading", "How to read it", _reading()))
    css = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    atomic.write_text(path, document(title, _top(verdicts, pending, title), parts, colours=colours, css=css))


def _anchors(verdicts: Sequence[Json]) -> list[str]:
    """An id for each card, by its claim's name; with a number where that would be another's."""
    made: list[str] = []
    for i, verdict in enumerate(verdicts):
        name = f"claim-{stem(text(verdict.get('claim')))}"
        made.append(f"{name}-{i}" if name in made else name)
    return made


def _top(verdicts: Sequence[Json], pending: Sequence[str], title: str) -> str:
    counts = Counter(map(verdict_of, verdicts))
    tiles = "".join(
        f'<li class="{word.replace(" ", "-")}"><b{"" if counts[word] else " class=none"}>{counts[word]}</b>{word}</li>'
        for word in VERDICTS
    )
    quick = sum(bool(verdict.get("quick")) for verdict in verdicts)
    days = sorted(filter(None, map(when, verdicts)))
    judged = " to ".join(dict.fromkeys([days[0][:10], days[-1][:10]])) if days else ""
    lines = [
        "What is said about batch norm and its relatives, true or not, put to the test: for each claim the runs that test it, "
        "the rule that decides, which was fixed before them, and what came out.",
        f"{_some(len(verdicts), 'claim')} judged{f', {judged}' if judged else ''}"
        + (f"; {_some(len(pending), 'claim')} not yet." if pending else "."),
    ]
    if quick:
        lines.append(
            f"{'One verdict is' if quick == 1 else f'{quick} verdicts are'} quick: from fewer seeds, steps or values than the "
            "claim asks for, to see that it runs. Not evidence."
        )
    told = "".join(f"<p{' class=soft' if i == 1 else ''}>{esc(line)}</p>" for i, line in enumerate(lines))
    return f'<h1>{esc(title)}</h1>{told}<ul class="counts">{tiles}</ul>'


def _summary(verdicts: Sequence[Json], anchors: Sequence[str]) -> str:
    rows = []
    for verdict, anchor in zip(verdicts, anchors, strict=True):
        head = headline(verdict)
        part = counted(verdict)
        effect = esc(nice(amount(*head))) if head else "-"
        tag = "<br><span class='tag quick'>quick</span>" if verdict.get("quick") else ""
        rows.append(
            [
                Cell(
                    f'<a href="#{anchor}">{esc(text(verdict.get("claim")))}</a>{esc(text(verdict.get("statement")))}',
                    text(verdict.get("claim")),
                    "text",
                ),
                Cell(badge(verdict) + tag, VERDICTS.index(verdict_of(verdict))),
                Cell(effect + (f'<span class="part">{esc(part)}</span>' if part else ""), kind="effect"),
                Cell(esc(nice(asked(head[0]))) if head else "-"),
                Cell(esc(seeds(verdict, head[1] if head else None)), kind="number"),
                Cell(esc("-" if verdict.get("kind") == "exact" else text(verdict.get("scale")))),
            ]
        )
    heads = ["claim", "verdict", "effect [interval]", "rule", "seeds", "scale"]
    return f'<div class="summary">{table(heads, rows)}</div>'


def _reading() -> str:
    meanings = {badge({"verdict": word}): esc(meaning) for word, meaning in MEANINGS.items()}
    listed = "".join(f"<dt>{key}</dt><dd>{value}</dd>" for key, value in meanings.items())
    terms = {
        "effect": "What the rule is about, as a mean over seeds: a difference, a ratio, a value or a rank correlation. Of "
        "several cells the summary shows the one that decided.",
        "interval": "A confidence interval of that mean over seeds, at a level that is corrected for the number of cells, so "
        "that all of a claim's intervals hold together. For an exact claim: from the smallest to the largest seed.",
        "rule": "The line that the interval must keep to one side of. It stands in the claim's file, before anything is run.",
        "cell": "A condition at one value of each axis: at one activation and one depth, say.",
        "effect size": "The mean difference in standard deviations over seeds.",
        "scale": "small: minutes on a few cores; full: as large as in the paper, where that differs. quick: "
        "a glimpse, not evidence.",
    }
    return f'<div class="reading"><dl>{listed}</dl><h3>Words</h3>{pairs({k: esc(v) for k, v in terms.items()})}</div>'


def _some(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
