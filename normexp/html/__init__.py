"""HTML pages from Jinja templates: self-contained files, with every value escaped by default."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Cell:
    """A table cell.

    sort_by: sort key, if not the text. kind: CSS class of the cell. href: makes the text a link. badge: CSS class that makes the
    text a badge. part: small print below the text.
    """

    text: str
    sort_by: float | str | None = None
    kind: str = ""
    href: str | None = None
    badge: str = ""
    part: str = ""


@dataclass(frozen=True)
class Table:
    """A table, sortable by every column, with a title and a sentence about it above."""

    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    about: str = ""


@dataclass(frozen=True)
class Section:
    """A section of a page. template: lays out `section.content`; page_break: start a new page when printed."""

    id: str
    title: str
    template: str
    content: Any
    page_break: bool = True


def render(template: Path, **context: Any) -> str:
    """Render a page. Templates are looked up next to `template` first, then among the shared ones (base, macros, CSS, JS)."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(context)


def inline_code(text: str) -> Markup:
    """HTML of a text whose words in backticks are code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def link(target: Path, page: Path) -> str:
    """URL of a file, relative to the folder of the page."""
    relative = os.path.relpath(os.path.abspath(target), os.path.abspath(page.parent))  # noqa: PTH100 - keep symlinks
    return quote(os.fsencode(Path(relative).as_posix()))
