"""Matplotlib style of all figures, and a canvas of panels laid out in inches.

`layout="constrained"` would do the same, but takes 2.5 times as long for one panel and 4.5 times as long for twelve.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from normexp.plotting.colours import INK, LineStyle
from normexp.plotting.labels import format_tick, safe_label, truncate

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE_SHEET = Path(__file__).parent / "normexp.mplstyle"

WIDE, NARROW = 7.0, 3.4
"""Width in inches of a figure over two columns of a paper, and over one."""

LEFT, RIGHT, BOTTOM, TITLE, GAP = 0.58, 0.12, 0.46, 0.27, 0.16
"""Margins in inches: left of the panels, right of them, below them, above each panel, between two panels."""


@dataclass(frozen=True)
class Panel:
    """A panel of a figure: its position in the grid, and its title."""

    row: int
    column: int
    title: str


@dataclass(frozen=True)
class DrawnFigure:
    """A figure, its caption, and the data it shows.

    header, rows: the data, not thinned; rows are generated on demand. tips: tooltips by artist id (see `Canvas.mark`).
    recolour: whether its colours may be inverted on a dark page. notes: sentences on what the figure leaves out.
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
    """A figure, its panels by (row, column), and the tooltips of its artists."""

    figure: Figure
    axes: dict[tuple[int, int], Axes]
    tips: dict[str, list[str]] = field(default_factory=dict)

    def mark(self, artist: Artist, line: int | None, tips: Sequence[str] = ()) -> None:
        """Attach an artist to the line with this index, and tooltips to its points: one for all, or one per point."""
        name = f"s{'x' if line is None else line}-{len(self.tips)}"
        artist.set_gid(name)
        self.tips[name] = list(tips)

    def label_axes(self, *, x: str, y: str) -> None:
        """Name the y axis at the left column, and the x axis at the lowest panel of each column."""
        for (row, column), axes in self.axes.items():
            if column == 0:
                axes.set_ylabel(safe_label(y))
            if (row + 1, column) not in self.axes:
                axes.set_xlabel(safe_label(x))


@contextmanager
def figure_style() -> Iterator[None]:
    """Context in which figures are drawn and saved. Restores matplotlib's settings."""
    import warnings

    from matplotlib.style import context

    with context(["default", STYLE_SHEET]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a name in a script that DejaVu lacks
        yield


def new_canvas(
    panels: Sequence[Panel],
    *,
    legend: Sequence[LineStyle | Artist] = (),
    height: float = 1.55,
    width: float | None = None,
    left: float = LEFT,
    bottom: float = BOTTOM,
    shared: Literal["all", "row"] = "all",
) -> Canvas:
    """Create a figure with empty panels and a legend above them.

    All panels share the x axis; the y axis is shared by all of them or per row.

    height: of a panel; width: of the figure (default: by the number of columns); left, bottom: margins for tick labels.
    All in inches.
    """
    from matplotlib.figure import Figure

    rows, columns = 1 + max(p.row for p in panels), 1 + max(p.column for p in panels)
    width = width or (NARROW if columns == 1 else WIDE)
    handles = [line_handle(entry) if isinstance(entry, LineStyle) else entry for entry in legend]
    lines = legend_lines(handles, room=width - left + 0.1)
    top = 0.06 + 0.17 * lines
    above = TITLE if any(panel.title for panel in panels) else 0.08
    panel_width = (width - left - RIGHT - GAP * (columns - 1)) / columns
    total = top + rows * (above + height) + bottom
    figure = Figure(figsize=(width, total))
    canvas = Canvas(figure, {})
    first: dict[int, Axes] = {}
    size = 7.5 if max(len(panel.title) for panel in panels) < panel_width / 0.055 else 6.5
    for panel in panels:
        edge = left + panel.column * (panel_width + GAP)
        lower = total - top - (panel.row + 1) * (above + height)
        box = (edge / width, lower / total, panel_width / width, height / total)
        share = panel.row if shared == "row" else 0
        axes = figure.add_axes(box, sharex=next(iter(first.values()), None), sharey=first.get(share))
        first.setdefault(share, axes)
        title = truncate(safe_label(panel.title), int(panel_width / 0.048))
        axes.set_title(title, loc="left", pad=3, y=1.0, fontsize=size)  # with a fixed y, matplotlib skips a layout pass
        canvas.axes[panel.row, panel.column] = axes
    for (row, column), axes in canvas.axes.items():
        axes.locator_params(axis="x", nbins=4 if columns > 3 else 6)
        axes.tick_params(labelleft=column == 0, labelbottom=(row + 1, column) not in canvas.axes)
    add_legend(figure, handles, lines=lines, left=left)
    return canvas


def legend_lines(handles: Sequence[Artist], *, room: float) -> int:
    """Number of lines that a legend needs in `room` inches."""
    longest = max((len(str(h.get_label())) for h in handles), default=0)
    return math.ceil(len(handles) / max(1, int(room / (0.5 + 0.064 * longest))))


def add_legend(figure: Figure, handles: Sequence[Artist], *, lines: int, left: float) -> None:
    """Add a legend of so many lines in the upper left corner. left: left margin of the panels, in inches."""
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


def line_handle(style: LineStyle) -> Artist:
    """Legend entry of a line."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=style.colour, linestyle=style.dashes, marker=style.marker, label=safe_label(style.name))


def marker_handle(marker: str, name: str) -> Artist:
    """Legend entry of a marker: x for diverged, an open circle for unfinished."""
    from matplotlib.lines import Line2D

    face = "none" if marker == "o" else INK
    return Line2D([], [], color=INK, linestyle="none", marker=marker, markerfacecolor=face, label=name)


def log_axis(axis: Any) -> None:
    """Label a logarithmic axis, whose limits are set, at powers of ten; if it is short, also at 2 and 5 times these."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = axis.get_view_interval()
    subs = (1.0, 2.0, 5.0) if high < 50 * low else (1.0,)
    axis.set_major_locator(LogLocator(subs=subs, numticks=6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: format_tick(value)))
    axis.set_minor_locator(NullLocator())
