"""A claim's card on the page: what is said, what came out, the figure, the numbers, and how to run it again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from normexp.claims.figures import draw
from normexp.claims.wording import (
    SIGNS,
    Json,
    amount,
    arms,
    asked,
    cell_name,
    cells,
    compared,
    counted,
    duration,
    factor,
    finite,
    headline,
    marks,
    plain_number,
    seeds,
    size,
    text,
    unit,
    verdict_of,
    versions,
    when,
)
from normexp.plotting.svg import esc, inline
from normexp.report.groups import word
from normexp.report.page_html import Cell, link, pairs, table
from normexp.rundir.safe_read import printable

MINUS = re.compile(r"(?<![\w.])-(?=\d)|(?<=\de)-(?=\d)")

MOST_OPEN = 6
"""Cells whose tables are not folded away."""


def card(verdict: Json, *, anchor: str, page: Path) -> tuple[str, set[str]]:
    """The card, and the colours of its figure, which the page must define. In a `style` block.

    anchor: its id; page: the file it will stand in, for links to the runs.
    """
    drawn = draw(verdict, name=f"figure-{anchor}")
    figure, colours = "", set[str]()
    if drawn is not None:
        svg, colours = inline(drawn)
        svg, colours = svg.replace("var(--cffffff)", "var(--paper)"), colours - {"#ffffff"}  # inside open circles
        caption = esc(" ".join([drawn.caption, *drawn.notes]))
        figure = f'<figure><div class="scroll">{svg}</div><figcaption>{caption}</figcaption></figure>'
    kind = verdict_of(verdict).replace(" ", "-")
    parts = [
        f'<article class="card {kind}" id="{anchor}">',
        f'<p class="name"><span>{esc(text(verdict.get("claim")))}</span><a href="#summary">to the summary</a></p>',
        f"<h3>{esc(text(verdict.get('statement')))}</h3>",
        _paragraph(verdict.get("source"), kind="soft"),
        _found(verdict),
        "".join(map(_paragraph, str(verdict.get("explanation") or "").split("\n\n"))),
        figure,
        _conditions(verdict),
        "".join(map(_table, verdict.get("tables") or ())),
        _drawing(verdict.get("drawing")),
        _made(verdict, page),
        "</article>\n",
    ]
    return "".join(parts), colours


def badge(of: Json) -> str:
    """The verdict of a claim or a cell as a sign and a word, in its colour."""
    found = verdict_of(of)
    return f'<span class="badge {found.replace(" ", "-")}">{SIGNS[found]} {found}</span>'


def nice(words: str) -> str:
    """Signs as they are printed."""
    return MINUS.sub("\u2212", words.replace(">=", "≥").replace("<=", "≤"))


def _found(verdict: Json) -> str:
    """Verdict, effect and why; and, plainly, that it was quick."""
    head = headline(verdict)
    effect = ""
    if head:
        condition, cell = head
        n, where = seeds(verdict, cell), counted(verdict)
        wanted = f"rule {nice(asked(condition))}{unit(condition)}; {n} {'seed' if n == '1' else 'seeds'}"
        wanted += f"; {where}" if where else ""
        known = nice(amount(condition, cell))
        effect = f"{esc(known if known != '-' else 'not defined')} <span>({esc(wanted)})</span>"
    warned = (
        '<p class="quick">Quick: from fewer seeds, steps or values than the claim asks for. It shows that the claim runs; it is '
        "not evidence.</p>"
    )
    return (
        f'<div class="found"><div>{badge(verdict)}</div><div class="effect">{effect}</div>'
        f"{warned if verdict.get('quick') else ''}{_paragraph(verdict.get('because'))}</div>"
    )


def _conditions(verdict: Json) -> str:
    conditions = verdict.get("conditions") or ()
    total = sum(len(condition.get("cells") or ()) for condition in conditions)
    single = all(len(condition["cells"]) == 1 and not cell_name(condition["cells"][0]) for condition in conditions)
    parts = [f"{len(conditions)} {'condition' if len(conditions) == 1 else 'conditions'}"]
    parts += [f"{total} {'cell' if total == 1 else 'cells'}"] if not single else []
    if total > 1:
        parts.append("any of them suffices" if verdict.get("combine") == "any" else "all must hold")
    if single:
        body = _cells(verdict, list(cells(verdict)), None)
    else:
        body = "".join(_condition(verdict, condition) for condition in conditions)
    opened = " open" if total <= MOST_OPEN else ""
    return (
        f'<details class="printed"{opened}><summary>The rule: {", ".join(parts)}</summary>{body}</details>'
        if body
        else ""
    )


def _condition(verdict: Json, condition: Json) -> str:
    """A condition and its cells, as a table of its own."""
    axes = list(dict.fromkeys(axis for cell in condition["cells"] for axis in cell.get("cell") or {}))
    named = {text(axis): [_value((cell.get("cell") or {}).get(axis)) for cell in condition["cells"]] for axis in axes}
    return f"<h4>{esc(text(condition.get('what')))}</h4>{_paragraph(_about(condition), kind='soft')}" + _cells(
        verdict, [(condition, cell) for cell in condition["cells"]], named
    )


def _cells(verdict: Json, found: Sequence[tuple[Json, Json]], named: Mapping[str, Sequence[Cell]] | None) -> str:
    """A row a cell. named: the columns by which they are told apart; by their conditions, where each has but one."""
    share = any(factor(condition) > 1 for condition, _ in found)
    what = [
        Cell(f"{esc(text(condition.get('what')))}<span class=part>{esc(_about(condition))}</span>", kind="text")
        for condition, _ in found
    ]
    columns: dict[str, Sequence[Cell]] = {
        **({"condition": what} if named is None else named),
        "verdict": [Cell(badge(cell)) for _, cell in found],
        "effect [interval]": [
            Cell(esc(nice(amount(condition, cell))), finite(cell.get("effect")) or "") for condition, cell in found
        ],
        "effect size": [_number(cell.get("effect_size"), ".1f") for _, cell in found],
        "seeds": [Cell(esc(seeds(verdict, cell)), kind="number") for _, cell in found],
        f"each seed{' (%)' if share and named is not None else ''}": [
            Cell("<br>".join(esc(nice(line)) for line in arms(cell, factor(condition)))) for condition, cell in found
        ],
        "note": [Cell(esc(text(cell.get("note"))), kind="text") for _, cell in found],
    }
    shown = {head: of for head, of in columns.items() if any(cell.html not in ("", "-") for cell in of)}
    return table(list(shown), list(zip(*shown.values(), strict=True))) if found else ""


def _about(condition: Json) -> str:
    """What is compared, and where the line is."""
    levels = {x for cell in condition["cells"] if (x := finite(cell.get("level"))) is not None and x < 1}
    about = f"{compared(condition)}: {nice(asked(condition))}{unit(condition)}"
    about += f"; {', '.join(f'{100 * level:.6g} %' for level in sorted(levels))} interval" if levels else ""
    return about + ("" if condition.get("decides") else "; reported, does not decide")


def _table(each: Json) -> str:
    rows = [[_value(value) for value in row] for row in each.get("rows") or ()]
    return f"<h4>{esc(text(each.get('title')))}</h4>" + table([text(head) for head in each.get("columns") or ()], rows)


def _drawing(drawing: Any) -> str:
    lines = "\n".join(printable(line) for line in str(drawing or "").split("\n"))
    return f'<pre class="drawing">{esc(lines)}</pre>' if drawing else ""


def _made(verdict: Json, page: Path) -> str:
    """What it took, and how to run it again."""
    folder, runs, took = text(verdict.get("folder")), verdict.get("runs"), verdict.get("seconds")
    each = verdict.get("seeds") or ()
    found = {
        "runs": f"{runs}, {duration(took)}" if runs else "" if took is None else f"no training, {duration(took)}",
        "seeds": ", ".join(map(plain_number, each)),
        "scale": "" if verdict.get("kind") == "exact" else size(verdict),
        "judged": when(verdict),
        "made with": versions(verdict),
        "rule": marks(verdict),
    }
    shown = {key: esc(text(value)) for key, value in found.items() if value}
    if folder:
        shown["folder"] = f'<a href="{esc(link(Path(folder), page))}/"><code>{esc(folder)}</code></a>'
    command = text(verdict.get("command"))
    again = f'<h4>Run it again</h4><pre class="copy">{esc(command)}</pre>' if command else ""
    return f"<h4>What it took</h4>{pairs(shown)}{again}"


def _paragraph(words: Any, *, kind: str = "") -> str:
    told = text(words)
    return f"<p{f' class={kind}' if kind else ''}>{esc(told)}</p>" if told else ""


def _value(value: Any) -> Cell:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Cell(esc(nice(plain_number(value))), value, "number")
    if value in (None, "-"):
        return Cell("-", "", "number")
    return Cell(esc(text(word(value))))


def _number(value: Any, how: str) -> Cell:
    number = finite(value)
    return Cell("-" if number is None else format(number, how), "" if number is None else number, "number")
