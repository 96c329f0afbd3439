"""How figures look: colours that hold everywhere and for the colour-blind, and a canvas of panels in inches."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from normexp.plotting.colours import FAINT, INK, Look
from normexp.report.aggregate import title
from normexp.report.figures.panels import Panel

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, NARROW = 7.0, 3.4
"""Inches: a figure over two columns of a paper, and over one."""

LEFT, RIGHT, BOTTOM, TITLE, GAP = 0.58, 0.12, 0.46, 0.27, 0.16
"""Inches: left of the panels, right of them, below them, above each, between two."""


@dataclass(frozen=True)
class Drawn:
    """A figure with what belongs to it.

    header, rows: the data behind it, not thinned; made as they are asked for. tips: what to show at the points of the
    artists with these ids (`Canvas.mark`). recolour: whether its colours may be changed for a dark page. notes: sentences on
    what was left out of it.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    header: list[str]
    rows: Iterable[list[Any]]
    tips: dict[str, list[str]] = field(default_factory=dict)
    recolour: bool = True
    notes: list[str] = field(default_factory=list)

    @property
    def wide(self) -> bool:
        return bool(self.figure.get_figwidth() > NARROW + 0.5)


@dataclass(frozen=True)
class Canvas:
    """A figure, its panels by (row, column), and the tips of its artists."""

    figure: Figure
    axes: dict[tuple[int, int], Axes]
    tips: dict[str, list[str]] = field(default_factory=dict)

    def mark(self, artist: Artist, line: int | None, tips: Sequence[str] = ()) -> None:
        """Say which line an artist belongs to, and what to show at its points: one tip for all, or one for each."""
        name = f"s{'x' if line is None else line}-{len(self.tips)}"
        artist.set_gid(name)
        self.tips[name] = list(tips)


@contextmanager
def style() -> Iterator[None]:
    """Everything is drawn and saved in here; matplotlib's settings are as before afterwards."""
    import warnings

    from matplotlib.style import context

    settings: dict[str, Any] = {
        "font.size": 8,
        "axes.titlesize": 7.5,
        "axes.labelsize": 8,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 7.5,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "grid.color": FAINT,
        "grid.linewidth": 0.5,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.minor.size": 0,
        "ytick.minor.size": 0,
        "lines.linewidth": 1.3,
        "lines.markersize": 4,
        "path.simplify_threshold": 0.2,
        "svg.fonttype": "none",
        "svg.hashsalt": "normexp",
        "text.parse_math": False,  # a $ in a config is a dollar
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    }
    with context(["default", settings]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a name in a script that DejaVu lacks
        yield


def canvas(
    grid: Sequence[Panel],
    *,
    legend: Sequence[Look | Artist] = (),
    height: float = 1.55,
    width: float | None = None,
    left: float = LEFT,
    bottom: float = BOTTOM,
    shared: Literal["all", "row"] = "all",
) -> Canvas:
    """An empty figure with a panel for each of the grid's, with the legend above all.

    The steps or values across are the same in all panels, those upwards in all or in those of a row.

    height: of a panel; width: of the figure, if not as wide as its panels need; left, bottom: room for labels there.
    All in inches.
    """
    from matplotlib.figure import Figure

    rows, columns = 1 + max(p.row for p in grid), 1 + max(p.column for p in grid)
    width = width or (NARROW if columns == 1 else WIDE)
    handles = [handle(entry) if isinstance(entry, Look) else entry for entry in legend]
    lines = legend_lines(handles, room=width - left + 0.1)
    top = 0.06 + 0.17 * lines
    above = TITLE if any(panel.title for panel in grid) else 0.08
    panel_width = (width - left - RIGHT - GAP * (columns - 1)) / columns
    total = top + rows * (above + height) + bottom
    figure = Figure(figsize=(width, total))
    axes: dict[tuple[int, int], Axes] = {}
    first: dict[int, Axes] = {}
    size = 7.5 if max(len(panel.title) for panel in grid) < panel_width / 0.055 else 6.5
    for panel in grid:
        edge = left + panel.column * (panel_width + GAP)
        lower = total - top - (panel.row + 1) * (above + height)
        box = (edge / width, lower / total, panel_width / width, height / total)
        same = panel.row if shared == "row" else 0
        axis = figure.add_axes(box, sharex=next(iter(first.values()), None), sharey=first.get(same))
        first.setdefault(same, axis)
        name = clean(panel.title)
        # a given y: matplotlib need not look for room
        axis.set_title(short(name, int(panel_width / 0.048)), loc="left", pad=3, y=1.0, fontsize=size)
        axes[panel.row, panel.column] = axis
    for (row, column), axis in axes.items():
        axis.locator_params(axis="x", nbins=4 if columns > 3 else 6)
        axis.tick_params(labelleft=column == 0, labelbottom=(row + 1, column) not in axes)
    add_legend(figure, handles, lines=lines, left=left)
    return Canvas(figure, axes)


def legend_lines(handles: Sequence[Artist], *, room: float) -> int:
    """How many lines a legend takes in so many inches."""
    longest = max((len(str(h.get_label())) for h in handles), default=0)
    return math.ceil(len(handles) / max(1, int(room / (0.5 + 0.064 * longest))))


def add_legend(figure: Figure, handles: Sequence[Artist], *, lines: int, left: float) -> None:
    """The legend in the figure's upper left corner, in so many lines. left: of the panels, in inches."""
    if not handles:
        return
    ncols = math.ceil(len(handles) / lines)
    figure.legend(
        handles=[handle for start in range(ncols) for handle in handles[start::ncols]],  # it fills columns, not rows
        loc="upper left",
        bbox_to_anchor=((left - 0.1) / figure.get_figwidth(), 1.0),
        ncols=ncols,
        frameon=False,
        borderpad=0.2,
        handlelength=2.6,
        columnspacing=1.1,
        labelspacing=0.25,
    )


def outer_labels(drawn: Canvas, *, x: str, y: str) -> None:
    """The names of the axes, at the left column and at the lowest panel of each column."""
    for (row, column), axis in drawn.axes.items():
        if column == 0:
            axis.set_ylabel(clean(y))
        if (row + 1, column) not in drawn.axes:
            axis.set_xlabel(clean(x))


def handle(look: Look) -> Artist:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=look.colour, linestyle=look.dashes, marker=look.marker, label=clean(look.name))


def sign(marker: str, name: str) -> Artist:
    """A legend's entry for a marker: x for diverged, an open circle for unfinished."""
    from matplotlib.lines import Line2D

    face = "none" if marker == "o" else INK
    return Line2D([], [], color=INK, linestyle="none", marker=marker, markerfacecolor=face, label=name)


def log_axis(axis: Any) -> None:
    """Powers of ten in plain letters on a logarithmic axis that has its limits; also 2 and 5 times them on a short one."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = axis.get_view_interval()
    subs = (1.0, 2.0, 5.0) if high < 50 * low else (1.0,)
    axis.set_major_locator(LogLocator(subs=subs, numticks=6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axis.set_minor_locator(NullLocator())


def plain(value: float) -> str:
    """0.01, 1, 1000, and 10⁻⁶ for powers of ten further away."""
    if value == 0 or 1e-3 < abs(value) < 1e4:
        return f"{value:g}"
    digits, _, power = f"{value:.0e}".partition("e")
    raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}" if digits == "1" else f"{digits}·10{raised}"


def heading(tag: str) -> str:
    """'Validation accuracy' for val/accuracy."""
    words = title(tag)
    first, _, rest = words.partition(" ")
    return f"{({'train': 'Training', 'val': 'Validation'}).get(first, first.capitalize())} {rest}".strip()


def clean(text: str) -> str:
    """A name from a file, as letters that can stand in a figure; matplotlib hides labels that begin with _."""
    return "".join(c if c.isprintable() else "?" for c in text).replace("_", " _", text.startswith("_"))


def stem(text: str) -> str:
    """The name of a figure's files, and its id in the page."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[:100]


def short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: max(most - 1, 1)] + "…"
