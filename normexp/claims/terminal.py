"""Claims on the terminal: which there are, what came out, and the evidence for one. Words first, colours beside them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from normexp.claims.schema import Claim
from normexp.claims.sound import sound
from normexp.claims.wording import (
    VERDICTS,
    Json,
    amount,
    arms,
    asked,
    cell_name,
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
from normexp.report.groups import word
from normexp.rundir.safe_read import printable

COLOURS = {"confirmed": "green", "refuted": "red", "inconclusive": "yellow", "not comparable": "cyan"}


def show(console: Console, rows: Sequence[tuple[Claim, Json | None]]) -> None:
    """Print the claims there are: name, verdict if there is one, what it costs to make one, and the sentence."""
    for kind, head in (("exact", "Exact: computed in float64, from seeds"), ("experiment", "Experiments: trained")):
        own = [(claim, verdict) for claim, verdict in rows if claim.kind == kind]
        if not own:
            continue
        _line(console, Text(head, style="bold"))
        names = max(len(text(claim.name)) for claim, _ in own)
        found = [Text("not judged", style="dim") if verdict is None else _verdict(verdict) for _, verdict in own]
        for (claim, _), came_out in zip(own, found, strict=True):
            line = Text(f"{text(claim.name):<{names}}  ", style="bold")
            line.append_text(Text(style="not bold").append_text(came_out))
            line.append(" " * (max(map(len, found)) - len(came_out)))
            line.append(f"  {text(claim.cost)}" if claim.cost else "", style="not bold dim")
            console.print(line, highlight=False, overflow="fold")
            console.print(Padding(Text(text(claim.statement)), (0, 0, 0, 2), expand=False), highlight=False)
        console.print()


def rule(console: Console, claim: Claim) -> None:
    """Print what a claim says, and by what it will be decided: what there is before anything is run."""
    _head(console, claim.name, claim.statement, claim.source)
    console.print()
    either = "any that decides suffices" if claim.combine == "any" else "all that decide must hold"
    _line(
        console,
        Text(f"{_some(len(claim.rule), 'condition')}{f'; {either}' if len(claim.rule) > 1 else ''}", style="dim"),
    )
    for of in claim.rule:
        condition = {
            "what": of.what, "decides": of.decides, "measure": of.measure.tag, "as": of.how, "arms": of.compare,
            "take": of.take if of.over else None, "over": of.over, "is": of.direction, "threshold": of.threshold,
            "margin": of.margin,
        }  # fmt: skip
        _asked(console, condition)
    for required in claim.requires:
        _line(console, Text(f"Required of all arms, to compare them at all: {text(required.what)}", style="dim"))
    if claim.sweep is not None:
        values = [len(places) for places in claim.sweep.axes.values()]
        runs = len(claim.sweep.arms) * math.prod(values) * len(claim.seeds)
        console.print()
        found = {"arms": ", ".join(map(text, claim.sweep.arms))}
        found |= {text(axis): text(", ".join(map(word, places))) for axis, places in claim.sweep.axes.items()}
        found["seeds"] = f"{', '.join(map(str, claim.seeds))}; {_some(runs, 'run')} in all"
        _pairs(console, found)
    if claim.explanation:
        console.print()
        _line(console, text(claim.explanation))
    console.print()


def summary(console: Console, verdicts: Sequence[Json]) -> None:
    """Print what came out: a line a claim, and how often each verdict."""
    printed = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    printed.add_column("claim", overflow="fold")
    printed.add_column("verdict", no_wrap=True)
    printed.add_column("effect", overflow="fold")
    printed.add_column("rule", overflow="fold")
    printed.add_column("n", justify="right", no_wrap=True)
    for verdict in map(sound, verdicts):
        head = headline(verdict)
        effect = Text(amount(*head) if head else "-")
        if part := counted(verdict, most=44):
            effect.append(f"\n{part}", style="dim")
        word = Text(verdict_of(verdict), style=COLOURS[verdict_of(verdict)])
        if verdict.get("quick"):
            word.append("\nquick", style="dim")
        printed.add_row(
            Text(text(verdict.get("claim"))),
            word,
            effect,
            Text(asked(head[0]) if head else "-"),
            Text(seeds(verdict, head[1] if head else None)),
        )
    if verdicts:
        console.print(printed, highlight=False)
        console.print()
    counts = Counter(map(verdict_of, verdicts))
    told = ", ".join(f"{counts[word]} {word}" for word in VERDICTS if counts[word])
    console.print(Text(f"{_some(len(verdicts), 'claim')}{f': {told}' if told else ''}."), highlight=False)
    if quick := sum(bool(verdict.get("quick")) for verdict in verdicts):
        one = "One verdict is" if quick == 1 else f"{quick} verdicts are"
        console.print(Text(f"{one} quick: to see that it runs, not evidence.", style="dim"), highlight=False)


def evidence(console: Console, verdict: Json) -> None:
    """Print all that a verdict rests on, where its runs are, and how to run it again."""
    verdict = sound(verdict)
    _head(console, verdict.get("claim"), verdict.get("statement"), verdict.get("source"))
    console.print()
    _line(console, _verdict(verdict))
    _line(console, text(verdict.get("because")))
    if verdict.get("quick"):
        _line(console, "Quick: from fewer seeds, steps or values than the claim asks for; not evidence.")
    conditions = verdict.get("conditions") or ()
    if len(conditions) > 1:
        every = "any that decides suffices" if verdict.get("combine") == "any" else "all that decide must hold"
        _line(console, Text(f"\n{len(conditions)} conditions; {every}.", style="dim"))
    for condition in conditions:
        console.print()
        _condition(console, verdict, condition)
    for each in verdict.get("tables") or ():
        console.print()
        _table(console, each)
    if verdict.get("drawing"):
        console.print()
        for row in str(verdict["drawing"]).split("\n"):
            console.print(Text(printable(row)), soft_wrap=True, highlight=False)
    if explanation := text(verdict.get("explanation")):
        console.print()
        _line(console, explanation)
    console.print()
    _took(console, verdict)


def _condition(console: Console, verdict: Json, condition: Json) -> None:
    _asked(console, condition)
    for cell in condition.get("cells") or ():
        found = verdict_of(cell)
        line = Text("  ")
        line.append(f"{cell_name(cell)}: " if cell_name(cell) else "")
        line.append(found, style=COLOURS[found])
        line.append(f", {amount(condition, cell)}")
        d = finite(cell.get("effect_size"))
        line.append(f", effect size {d:.1f}" if d is not None else "")
        line.append(f", n={seeds(verdict, cell)}")
        console.print(line, highlight=False, overflow="fold")
        below = [*arms(cell, factor(condition)), text(cell.get("note"))]
        for each in filter(None, map(str.strip, below)):
            console.print(Padding(Text(each, style="dim"), (0, 0, 0, 6), expand=False), highlight=False)


def _asked(console: Console, condition: Json) -> None:
    """What a condition is about, and where its line is."""
    _line(console, Text(text(condition.get("what")), style="bold"))
    levels = {x for cell in condition.get("cells") or () if (x := finite(cell.get("level"))) is not None and x < 1}
    level = f"; {', '.join(f'{100 * x:.6g} %' for x in sorted(levels))} intervals" if levels else ""
    aside = "" if condition.get("decides") else "; reported, does not decide"
    _line(console, Text(f"{compared(condition)}: {asked(condition)}{unit(condition)}{level}{aside}", style="dim"))


def _head(console: Console, name: Any, statement: Any, source: Any) -> None:
    _line(console, Text(text(name), style="bold"))
    _line(console, text(statement))
    _line(console, Text(text(source), style="dim"))


def _table(console: Console, each: Json) -> None:
    """A table of an exact claim; its cells fold where the terminal is narrow."""
    _line(console, Text(text(each.get("title")), style="bold"))
    rows = [list(row) for row in each.get("rows") or ()]
    printed = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for i, head in enumerate(each.get("columns") or ()):
        numbers = all(_is_number(row[i]) for row in rows if i < len(row))
        printed.add_column(Text(text(head)), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        printed.add_row(*(Text(plain_number(value)) for value in row))
    console.print(printed, highlight=False)


def _took(console: Console, verdict: Json) -> None:
    runs, took = verdict.get("runs"), verdict.get("seconds")
    each = verdict.get("seeds") or ()
    found = {
        "runs": f"{runs}, {duration(took)}" if runs else "" if took is None else f"none, {duration(took)}",
        "seeds": ", ".join(map(plain_number, each)),
        "judged": when(verdict),
        "with": versions(verdict),
        "rule": marks(verdict),
        "folder": text(verdict.get("folder")),
        "again": text(verdict.get("command")),
    }
    _pairs(console, {key: text(value) for key, value in found.items() if value})


def _pairs(console: Console, found: Mapping[str, str]) -> None:
    wide = max([8, *map(len, found)])
    for key, value in found.items():
        # unwrapped: paths and commands are there to be copied
        console.print(Text(f"{key:<{wide}} {value}"), soft_wrap=key in ("folder", "again"), highlight=False)


def _verdict(verdict: Json) -> Text:
    """'confirmed, full scale', in its colour."""
    found, how = verdict_of(verdict), size(verdict)
    line = Text(found, style=COLOURS[found])
    return line.append(f", {how}" if how else "", style="default")


def _line(console: Console, line: str | Text) -> None:
    if line:
        console.print(line if isinstance(line, Text) else Text(line), highlight=False)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _some(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
