"""Print lines to a console. Paths and commands stay whole, so they can be copied."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from normexp.config import printable

MAX_LISTED = 5
"""Reasons or messages of one kind that are printed; the rest is counted."""


def print_line(console: Console, text: str) -> None:
    """Print a line without markup, highlighting or wrapping."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_message(console: Console, message: str | Text) -> None:
    """Print a sentence without markup or highlighting: wrapped between words on a terminal, on one line elsewhere."""
    text = Text(message) if isinstance(message, str) else message
    start, lines = 0, wrap(text.plain, console.width) if console.is_terminal else [text.plain]
    for line in lines:
        start = text.plain.index(line, start)
        console.print(text[start : start + len(line)], soft_wrap=True)


def print_some(console: Console, head: str, sentences: Sequence[str], *, more: str = "and {} more") -> None:
    """Print a head and the first few sentences. more: printed with the number of the others."""
    console.print(f"\n{head}", highlight=False)
    for sentence in sentences[:MAX_LISTED]:
        print_message(console, f"  {sentence}")
    if len(sentences) > MAX_LISTED:
        console.print(f"  {more.format(len(sentences) - MAX_LISTED)}", highlight=False)


def wrap(text: str, width: int) -> list[str]:
    """Break a line between words. Words that are too long, such as paths, stay whole."""
    return textwrap.wrap(
        text, width, break_long_words=False, break_on_hyphens=False, replace_whitespace=False, expand_tabs=False
    )


def print_labelled(console: Console, label: str, value: object, *, width: int = 9) -> None:
    """Print a label padded to a width, then a path or a command. Characters that are not printable become `?`."""
    print_line(console, f"{label:<{width}}{printable(value)}")


def short_path(path: Path) -> Path:
    """The path, relative to the current folder if it is inside."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
