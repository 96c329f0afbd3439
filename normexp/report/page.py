"""The HTML page of a report: one file that needs no network, of what is in run directories and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from normexp.plotting.colours import INK, lighter, looks
from normexp.plotting.style import Drawn, style
from normexp.plotting.svg import esc, inline
from normexp.report.figures.draw import draw
from normexp.report.figures.study import Study, study
from normexp.report.page_html import listed
from normexp.report.page_made import made
from normexp.report.page_sheets import sheets
from normexp.report.page_tables import group_table, headline, run_table
from normexp.report.read import Collection
from normexp.rundir import atomic

PARTS = {
    "curves": ("Convergence", "What training does, step by step."),
    "sweep": ("What was swept", "The final metric against what differs between the runs."),
    "gradients": (
        "Gradients by layer",
        "Whether the loss reaches the first layers: their gradients neither vanish nor explode.",
    ),
    "activations": ("Activations by layer", "Whether the values that enter the activations stay where they were."),
}
"""Title and lead of the parts that have figures, by their id."""

MOST_PRINTED = 200
"""Runs whose table is printed with the page."""


def write(path: Path, collection: Collection, *, metric: str, by: Sequence[str] | None, title: str) -> list[str]:
    """Write the page, as a whole or not at all. Returns sentences on what it leaves out, beside what could not be read.

    Raises ConfigError for a key in `by` that no run has, OSError where the file can't be written.
    """
    of = study(collection, metric=metric, by=by)
    parts: list[tuple[str, str, str]] = []
    colours: set[str] = set()
    notes: list[str] = []
    with style():
        for name, figures in draw(of).items():
            if figures:
                pieces = [inline(figure) for figure in figures]
                colours |= {colour for _, own in pieces for colour in own}
                body = f'<p class="soft">{PARTS[name][1]}</p><div class="figures">'
                body += "".join(_figure(figure, svg) for figure, (svg, _) in zip(figures, pieces, strict=True))
                parts.append((name, PARTS[name][0], body + "</div>"))
                notes += [f"{figure.title}: {note}" for figure in figures for note in figure.notes]
            elif name != "sweep" or of.grouping.keys:
                notes.append(f"No run has what would be drawn under '{PARTS[name][0]}'.")
        swatches = looks(of.plan) if of.plan.lines else []
    histograms, missing_sheets = sheets(of, path)
    if histograms:
        lead = '<p class="soft">What each layer computes over the steps, one seed of each group.</p>'
        parts.append(("histograms", "Histograms", lead + histograms))
    how, unknown = made(collection.runs, of.grouping.keys)
    runs = run_table(collection.runs, of, path)
    counted = f"All {len(collection.runs)} runs" if len(collection.runs) > 1 else "The run"
    printed = ' class="printed"' if len(collection.runs) <= MOST_PRINTED else ""
    tables = f"{group_table(of)}<details{printed}><summary>{counted}</summary>{runs}</details>"
    parts += [("table", "Table", tables), ("made", "How it was made", how)]
    if of.bad_lines:
        what = "line of metrics.jsonl files is" if of.bad_lines == 1 else "lines of metrics.jsonl files are"
        notes.append(f"{of.bad_lines} {what} left out: unreadable.")
    notes += [*missing_sheets, *unknown]
    top = headline(of, collection.runs, name=title) + listed(
        [*_skipped(of), *collection.left_out, *notes], summary="What is left out or shown in part, and why"
    )
    lines = [(look.name, _variable(look.colour)) for look in swatches] if of.plan.colours else []
    colours |= {look.colour for look in swatches} - {INK}
    atomic.write_text(path, document(title, top, parts, colours=colours, lines=lines))
    return notes


def _figure(drawn: Drawn, svg: str) -> str:
    notes = " ".join([drawn.caption, *drawn.notes])
    return (
        f'<figure class="{"wide" if drawn.wide else "narrow"}"><h3>{esc(drawn.title)}</h3>'
        f'<div class="scroll">{svg}</div><figcaption>{esc(notes)}</figcaption></figure>'
    )


def _skipped(of: Study) -> Iterable[str]:
    """Combinations that could not be trained, by their reason."""
    reasons: dict[str, int] = {}
    for run in of.grouping.skipped:
        reason = str(run.status.get("error") or "no reason was recorded")
        reasons[reason] = reasons.get(reason, 0) + 1
    return [f"{n} {'run was' if n == 1 else 'runs were'} skipped: {reason}" for reason, n in reasons.items()]


def document(
    title: str,
    top: str,
    parts: Sequence[tuple[str, str, str]],
    *,
    colours: Iterable[str],
    lines: Sequence[tuple[str, str]] = (),
    css: str = "",
) -> str:
    """The page. parts: their id, title and HTML; colours: those of the figures, in a light page; lines: name and colour of what
    can be hidden; css: what a page of another kind adds."""
    here = Path(__file__).parent
    links = "".join(f'<a href="#{name}">{esc(head)}</a>' for name, head, _ in parts)
    boxes = "".join(
        f'<label><input type="checkbox" value="{i}" checked><span class="swatch" style="background:{colour}"></span>'
        f"{esc(name)}</label>"
        for i, (name, colour) in enumerate(lines)
    )
    hidden = "".join(f".without-{i} svg .s{i} {{ display: none; }}\n" for i in range(len(lines)))
    light = {colour: colour for colour in sorted(colours)}
    dark = {colour: on_dark(colour) for colour in light}
    sections = "".join(
        f'<section id="{name}"{" class=flows" if name in ("curves", "made") else ""}><h2>{esc(head)}</h2>{body}</section>\n'
        for name, head, body in parts
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; \
script-src 'unsafe-inline'">
<title>{esc(title)}</title>
<style>
{(here / "page.css").read_text(encoding="utf-8")}{css}
{_colours(light)}
@media screen and (prefers-color-scheme: dark) {{ {_colours(dark)} }}
{hidden}</style>
</head>
<body>
<nav aria-label="Parts of the page">{links}{f"<fieldset hidden>{boxes}</fieldset>" if len(lines) > 1 else ""}</nav>
<main>
<header>{top}</header>
{sections}</main>
<script>
{(here / "page.js").read_text(encoding="utf-8")}</script>
</body>
</html>
"""


def _colours(values: Mapping[str, str]) -> str:
    return ":root { " + " ".join(f"--c{colour[1:]}: {value};" for colour, value in values.items()) + " }"


def _variable(colour: str) -> str:
    return "var(--ink)" if colour == INK else f"var(--c{colour[1:]})"


def on_dark(colour: str) -> str:
    """The colour, lightened as far as it takes to be read on the dark page."""
    return next((made for i in range(10) if _luminance(made := lighter(colour, i / 10)) > 0.26), "#ffffff")


def _luminance(colour: str) -> float:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return float(0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2)
