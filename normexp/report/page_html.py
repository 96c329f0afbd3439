"""Pieces of HTML. Whatever comes from a file goes through `esc`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from normexp.plotting.svg import esc
from normexp.report.figures.panels import is_number
from normexp.report.groups import word


@dataclass(frozen=True)
class Cell:
    """A cell of a table. html: what it shows, escaped; by: what it is sorted by, where that is something else."""

    html: str
    by: float | str | None = None
    kind: str = ""


def value_cell(value: Any) -> Cell:
    """A config's value: numbers to the right, sorted by size."""
    if is_number(value):
        return Cell(esc(word(value)), float(value), "number")
    return Cell(esc(word(value)))


def table(heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table that can be sorted by each column."""
    numbers = {i for row in rows[:1] for i, cell in enumerate(row) if cell.kind == "number"}
    top = "".join(
        f'<th scope="col" data-sort{" class=number" if i in numbers else ""}>{esc(head)}</th>'
        for i, head in enumerate(heads)
    )
    body = "\n".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def listed(notes: Sequence[str], *, summary: str, most: int = 4) -> str:
    """Sentences, below each other; folded away where there are many."""
    if not notes:
        return ""
    items = '<ul class="notes">' + "".join(f"<li>{esc(note)}</li>" for note in notes) + "</ul>"
    if len(notes) > most:
        return f'<details class="printed"><summary>{esc(summary)} ({len(notes)})</summary>{items}</details>'
    return f'<p class="soft">{esc(summary)}:</p>{items}'


def link(target: Path, page: Path) -> str:
    """The address of a file, relative to the folder of the page."""
    relative = os.path.relpath(os.path.abspath(target), os.path.abspath(page.parent))  # noqa: PTH100 - links stay links
    return quote(os.fsencode(Path(relative).as_posix()))


def pairs(found: dict[str, str]) -> str:
    """Terms with what they are, which is HTML already."""
    return "<dl>" + "".join(f"<dt>{esc(key)}</dt><dd>{value}</dd>" for key, value in found.items()) + "</dl>"


def _cell(cell: Cell) -> str:
    by = "" if cell.by is None else f' data-v="{esc(cell.by)}"'
    kind = f' class="{cell.kind}"' if cell.kind else ""
    return f"<td{kind}{by}>{cell.html}</td>"
