"""Colors, dashes and markers of lines: the same in every figure, and distinguishable for color-blind readers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

INK, FAINT = "#0b0c0d", "#d9dadb"
"""Text and axes; grid lines."""

NORM_STYLES = {
    "none": (INK, (0, (1.2, 1.4)), "o"),
    "bn": ("#0072b2", "solid", "s"),
    "ln": ("#d55e00", (0, (5, 1.6)), "^"),
    "in": ("#cc79a7", (0, (3, 1.2, 1, 1.2)), "D"),
    "gn": ("#009e73", (0, (7, 1.6, 1.4, 1.6)), "v"),
    "rms": ("#ffa600", (0, (2.5, 1.2)), "P"),
    "brn": ("#56b4e9", (0, (6, 1, 1, 1, 1, 1)), "X"),
    "frn": ("#661100", (0, (1, 0.8)), "<"),
    "evonorm": ("#c9b65c", (0, (4, 1, 4, 1, 1, 1)), ">"),
    "dyt": ("#117733", (0, (8, 2)), "*"),
    "derf": ("#332288", (0, (2, 1, 6, 1)), "p"),
    "iternorm": ("#003f5c", (0, (1, 2.5)), "h"),
    "sn": ("#4d4d4d", (0, (9, 1.2, 3, 1.2)), "d"),
}
"""Color, dashes and marker of each norm. The first five colors are of Okabe and Ito 2008; the others were chosen so that all
differ for color-blind readers. Dashes and markers differ, too."""

OTHER_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK, "#882255", "#999933")
"""Colors of lines that are not norms."""


@dataclass(frozen=True)
class LineStyle:
    """Legend text, color, dashes (as matplotlib takes them) and marker of a line."""

    name: str
    color: str
    dashes: Any
    marker: str


def line_styles(names: Sequence[str], norms: Sequence[str | None], *, sequential: bool) -> list[LineStyle]:
    """Styles of lines, named by their norm or None. Lines of a norm have its color, or lighter shades of it if there are
    several. Others have colors that none of these norms has, or a color scale if they are `sequential`."""
    colors, dashes, markers = zip(*NORM_STYLES.values(), strict=True)
    free = [color for color in OTHER_COLORS if color not in {NORM_STYLES[norm][0] for norm in norms if norm}]
    styles = []
    for i, (name, norm) in enumerate(zip(names, norms, strict=True)):
        earlier = norms[:i].count(norm)  # lines of the same norm, or of none
        if norm:
            first = list(NORM_STYLES).index(norm)
            look, color = (first + earlier) % len(NORM_STYLES), lighten(colors[first], min(0.35 * earlier, 0.6))
            styles.append(LineStyle(name, color, dashes[look], markers[look]))
        elif sequential:
            styles.append(LineStyle(name, sequential_color(i, len(names)), "solid", markers[i % 5]))
        else:
            styles.append(LineStyle(name, free[earlier % len(free)], dashes[(earlier + 1) % 5], markers[i % 5]))
    return styles


def sequential_color(i: int, of: int) -> str:
    """The i-th of `of` ordered colors, from blue to orange."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return to_hex(colormaps["plasma"](0.82 * i / max(of - 1, 1)))


def lighten(color: str, by: float) -> str:
    """Mix a color with white. by: share of white."""
    parts = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(part + (255 - part) * by):02x}" for part in parts)
