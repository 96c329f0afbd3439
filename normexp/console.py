"""Print single lines to a console as they are: paths and commands stay whole, so they can be copied."""

from rich.console import Console

from normexp.config import printable


def print_line(console: Console, text: str) -> None:
    """Print a line without markup, highlighting or wrapping."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_labelled(console: Console, label: str, value: object, *, width: int = 9) -> None:
    """Print a label padded to a width, then a path or a command. Characters that are not printable become `?`."""
    print_line(console, f"{label:<{width}}{printable(value)}")
