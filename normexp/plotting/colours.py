"""Colours, dashes and markers of the lines: the same in every figure, and told apart by the colour-blind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from normexp.report.figures.panels import Layout, is_number

INK, FAINT = "#0b0c0d", "#d9dadb"
"""Text and axes; grids. Colours that nothing else has, so that the page can put its own in their place."""

NORMS = {
    "none": (INK, (0, (1.2, 1.4)), "o"),
    "bn": ("#0072b2", "solid", "s"),
    "ln": ("#d55e00", (0, (5, 1.6)), "^"),
    "in": ("#cc79a7", (0, (3, 1.2, 1, 1.2)), "D"),
    "gn": ("#009e73", (0, (7, 1.6, 1.4, 1.6)), "v"),
}
"""Colour (Okabe and Ito 2008), dashes and marker of each norm, the same in every figure."""

OTHERS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK, "#882255", "#999933")


@dataclass(frozen=True)
class Look:
    """How a line is drawn."""

    name: str
    colour: str
    dashes: Any
    marker: str


def looks(plan: Layout) -> list[Look]:
    """The look of each line: a norm's own, shades of it where a norm has several lines, a scale for numbers."""
    if not plan.colours:
        return [Look(plan.names[0], NORMS["bn"][0], "solid", "o")]
    heads = [line[0] for line in plan.lines]
    markers = [marker for _, _, marker in NORMS.values()]
    dashes = [dash for _, dash, _ in NORMS.values()]
    made = []
    for i, (name, head) in enumerate(zip(plan.names, heads, strict=True)):
        if plan.colours[0] == "norm" and head in NORMS:
            colour, dash, marker = NORMS[head]
            colour = lighter(colour, min(0.3 * heads[:i].count(head), 0.6))
        elif all(is_number(other) for other in heads):
            colour, dash, marker = scale(i, len(heads)), "solid", markers[i % 5]
        else:
            colour, dash, marker = OTHERS[i % len(OTHERS)], dashes[i % 5], markers[i % 5]
        made.append(Look(name, colour, dash, marker))
    return made


def scale(i: int, of: int) -> str:
    """The i-th of so many colours that say an order: from blue to orange."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return to_hex(colormaps["plasma"](0.82 * i / max(of - 1, 1)))


def lighter(colour: str, by: float) -> str:
    """A colour mixed with white; by: the part of white."""
    parts = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(part + (255 - part) * by):02x}" for part in parts)
