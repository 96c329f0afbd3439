"""A matplotlib figure as SVG for a page: ids of its own, colours that follow the page, tips at its points."""

from __future__ import annotations

import html
import io
import re

from normexp.plotting.colours import FAINT, INK
from normexp.plotting.style import Drawn

COLOUR = re.compile(r"#[0-9a-f]{6}\b")
SERIES = re.compile(r"s(x|\d+)-\d+$")


def esc(value: object) -> str:
    """A text as HTML: nothing in it is markup, and it can be encoded."""
    return html.escape(str(value).encode("utf-8", "replace").decode())


def svg_file(drawn: Drawn) -> str:
    """The figure as a file of its own, the same bytes each time. In a `style` block."""
    buffer = io.StringIO()
    drawn.figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Title": drawn.title})
    return buffer.getvalue()


def inline(drawn: Drawn) -> tuple[str, set[str]]:
    """The figure as an element of an HTML page, and the colours in it that the page must define, as `--c0072b2` each.

    What belongs to a line has the class s0, s1, ..., by which the page hides and shows it. In a `style` block.
    """
    drawn.figure.patch.set_visible(False)
    for axes in drawn.figure.axes:
        axes.patch.set_visible(False)
    buffer = io.StringIO()
    drawn.figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.S)
    text = re.sub(r'<style type="text/css">.*?</style>', "", text, count=1, flags=re.S)  # would hold for the whole page
    text = re.sub(r' d="[^"]*"', lambda found: _rounded(found[0]), text)
    head, *parts = text.split('<g id="')
    text = head + "".join(_part(part, drawn.tips) for part in parts)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{drawn.name}-", text)
    colours: set[str] = set()
    if drawn.recolour:
        colours = set(COLOUR.findall(text)) - {INK, FAINT}
        text = re.sub(rf"({COLOUR.pattern})(?=[;\"])", r"var(--\1)", text).replace("var(--#", "var(--c")
    text = text.replace(f"var(--c{INK[1:]})", "var(--ink)").replace(f"var(--c{FAINT[1:]})", "var(--faint)")
    text = text.replace(INK, "var(--ink)").replace(FAINT, "var(--faint)")
    width, height = (round(72 * size) for size in drawn.figure.get_size_inches())
    opening = (
        f'<svg id="{drawn.name}" role="img" aria-label="{esc(drawn.title)}" viewBox="0 0 {width} {height}" '
        f'style="max-width:{width * 1.9:.0f}px" class="{"wide" if drawn.wide else "narrow"}">'
        f"<title>{esc(drawn.title)}</title>"
    )
    return opening + text[text.index(">") + 1 :], colours


def _part(part: str, tips: dict[str, list[str]]) -> str:
    """What follows `<g id="` up to the next one: with its class and its tips, and without an id that nothing refers to."""
    name, rest = part.split('"', 1)
    attributes, body = rest.split(">", 1)
    found = SERIES.match(name)
    if found is None:
        return f"<g{attributes}>{body}"
    own = tips.get(name, [])
    if len(own) == 1:
        body = f"<title>{esc(own[0])}</title>{body}"
    else:
        left = iter(own)
        body = re.sub(r"<use ([^>]*)/>", lambda use: _tipped(use[0], use[1], next(left, None)), body)
    return f'<g class="s{found[1]}"{attributes}>{body}'


def _tipped(whole: str, attributes: str, tip: str | None) -> str:
    return whole if tip is None else f"<use {attributes}><title>{esc(tip)}</title></use>"


def _rounded(path: str) -> str:
    """A path in hundredths of a point, which is half the text."""
    return re.sub(r"(\.\d{2})\d+", r"\1", path)
