"""Text in figures: tick labels, names that are safe to draw, and file names."""

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def evenly_spaced(values: Sequence[T], limit: int) -> list[T]:
    """At most `limit` of the values, evenly spaced, with the first and the last."""
    if len(values) <= limit:
        return list(values)
    return [values[round(i * (len(values) - 1) / max(limit - 1, 1))] for i in range(limit)]


def safe_label(text: str) -> str:
    """Make a name from a file drawable. A leading _ gets a space, because matplotlib hides labels that start with one."""
    return "".join(c if c.isprintable() else "?" for c in text).replace("_", " _", text.startswith("_"))


def file_stem(text: str) -> str:
    """Turn a title into the name of a figure's files, which is also its id in the page."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[:100]


def truncate(text: str, length: int) -> str:
    return text if len(text) <= length else text[: max(length - 1, 1)] + "…"


def abbreviate(path: str, fits: Callable[[str], bool]) -> str:
    """Shorten the parts of a module path to a letter, the first ones first, until it fits: b.e.layer.0.output for
    bert.encoder.layer.0.output. Numbers and the last part stay."""
    parts = path.split(".")
    for i in range(len(parts) - 1):
        if fits(".".join(parts)):
            break
        parts[i] = parts[i] if parts[i].isdigit() else parts[i][:1]
    return ".".join(parts)
