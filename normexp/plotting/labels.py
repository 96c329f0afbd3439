"""Text in figures: tick labels, names that are safe to draw, and file names."""

import re
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def format_tick(value: float) -> str:
    """Format as 0.01, 1, 1000, or 10⁻⁶ for powers of ten further away."""
    if value == 0 or 1e-3 < abs(value) < 1e4:
        return f"{value:g}"
    digits, _, power = f"{value:.0e}".partition("e")
    raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}" if digits == "1" else f"{digits}·10{raised}"


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
