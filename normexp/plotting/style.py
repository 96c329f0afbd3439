"""Matplotlib style of all figures, and a canvas of panels laid out in inches.

`layout="constrained"` would do the same, but takes 2.5 times as long for one panel and 4.5 times as long for twelve.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from normexp.plotting.colors import INK, LineStyle
from normexp.plotting.labels import safe_label, truncate

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE_SHEET = Path(__file__).parent / "normexp.mplstyle"

WIDE, NARROW = 7.0, 3.4
"""Width in inches of a figure over two columns of a paper, and over one."""

LEFT, RIGHT, BOTTOM, TITLE, GAP = 0.58, 0.12, 0.46, 0.27, 0.16
"""Margins in inches: left of the panels, right of them, below them, above each panel, between two panels."""

FILE_TYPES = {"png": ["Software"], "svg": ["Date", "Creator"], "pdf": ["CreationDate", "Creator", "Producer"]}
"""The metadata of each file type that would differ between days or versions of matplotlib."""


@dataclass(frozen=True)
class Panel:
    """A panel of a figure: its position in the grid, and its title."""

    row: int
    column: int
    title: str


@dataclass(frozen=True)
class DrawnFigure:
    """A figure, its caption, and the data it shows.

    header, rows: the data for a CSV file, not thinned; rows are generated on demand. tips: tooltips by artist id (see
    `Canvas.mark`). recolor: whether its colors may be inverted on a dark page. notes: sentences on what the figure leaves out.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    tips: dict[str, list[str]]
    header: list[str] = field(default_factory=list)
    rows: Iterable[list[Any]] = ()
    recolor: bool = True
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
    from matplotlib.style import context

    with context(["default", STYLE_SHEET]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a name in a script that DejaVu lacks
        yield


def encode_figure(figure: Figure, suffix: str, title: str) -> bytes:
    """The figure as a file of a type in FILE_TYPES; the same bytes every time. Needs a `figure_style` context."""
    buffer = io.BytesIO()
    metadata = {"Title": safe_label(title), **dict.fromkeys(FILE_TYPES[suffix])}
    figure.savefig(buffer, format=suffix, dpi=300, metadata=metadata)
    return buffer.getvalue()


def new_canvas(
    panels: Sequence[Panel],
    *,
    legend: Sequence[LineStyle | Artist] = (),
    height: float = 1.55,
    width: float | None = None,
    left: float = LEFT,
    bottom: float = BOTTOM,
    below: float = 0.0,
    shared: Literal["all", "row", "none"] = "all",
) -> Canvas:
    """Create a figure with empty panels and a legend above them.

    shared: whether all panels have the same axes, or the same x axis and by row the same y axis, or each its own. height: of a
    panel; width: of the figure (default: by the number of columns); left, bottom: margins for tick labels; below: free room under
    the panels. All in inches.
    """
    from matplotlib.figure import Figure

    rows = 1 + max((panel.row for panel in panels), default=-1)
    columns = 1 + max((panel.column for panel in panels), default=0)
    width = width or (NARROW if columns == 1 else WIDE)
    apart = shared == "none"  # then every panel needs room for tick labels
    gap = LEFT if apart else GAP
    panel_width = (width - left - RIGHT - gap * (columns - 1)) / columns
    above = TITLE if any(panel.title for panel in panels) else 0.08
    pitch = above + height + (bottom if apart else 0)
    size = 7.5 if max((len(panel.title) for panel in panels), default=0) < panel_width / 0.055 else 6.5
    canvas = Canvas(Figure(figsize=(width, 1)), {})
    top = _add_legend(canvas.figure, legend, left=left)
    total = top + rows * pitch + (0 if apart else bottom) + below
    canvas.figure.set_figheight(total)
    first: dict[int, Axes] = {}
    for panel in panels:
        edge = left + panel.column * (panel_width + gap)
        lower = total - top - panel.row * pitch - above - height
        box = (edge / width, lower / total, panel_width / width, height / total)
        share = panel.row if shared == "row" else 0
        axes = canvas.figure.add_axes(box, sharex=next(iter(first.values()), None), sharey=first.get(share))
        if not apart:
            first.setdefault(share, axes)
        title = truncate(safe_label(panel.title), int(panel_width / 0.048))
        axes.set_title(title, loc="left", pad=3, y=1.0, fontsize=size)  # with a fixed y, matplotlib skips a layout pass
        canvas.axes[panel.row, panel.column] = axes
    for (row, column), axes in canvas.axes.items():
        axes.locator_params(axis="x", nbins=4 if columns > 3 else 6)
        axes.tick_params(labelleft=apart or column == 0, labelbottom=apart or (row + 1, column) not in canvas.axes)
    return canvas


def _add_legend(figure: Figure, entries: Sequence[LineStyle | Artist], *, left: float) -> float:
    """Add a legend in the upper left corner; returns its height. left: left margin of the panels. Both in inches."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=entry.color, linestyle=entry.dashes, marker=entry.marker, label=safe_label(entry.name))
        if isinstance(entry, LineStyle)
        else entry
        for entry in entries
    ]
    longest = max((len(str(handle.get_label())) for handle in handles), default=0)
    width = figure.get_figwidth()
    lines = math.ceil(len(handles) / max(1, int((width - left + 0.1) / (0.5 + 0.064 * longest))))
    if handles:
        ncols = math.ceil(len(handles) / lines)
        ordered = [handle for start in range(ncols) for handle in handles[start::ncols]]  # it fills columns, not rows
        figure.legend(handles=ordered, loc="upper left", bbox_to_anchor=((left - 0.1) / width, 1.0), ncols=ncols)
    return 0.06 + 0.17 * lines


def marker_handle(marker: str, name: str) -> Artist:
    """Legend entry of a marker: x for diverged, an open circle for unfinished."""
    from matplotlib.lines import Line2D

    face = "none" if marker == "o" else INK
    return Line2D([], [], color=INK, linestyle="none", marker=marker, markerfacecolor=face, label=name)


def log_axis(axis: Any) -> None:
    """Label a logarithmic axis, whose limits are set, at powers of ten; if it is short, also at 2 and 5 times these.

    Labels are plain numbers, as in tables and on axes of config values: 0.001, 1000, or 1e-05 where digits would need more room.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    low, high = axis.get_view_interval()
    subs = (1.0, 2.0, 5.0) if high < 50 * low else (1.0,)
    axis.set_major_locator(LogLocator(subs=subs, numticks=6))
    axis.set_major_formatter(lambda value, _: f"{value:g}" if 1e-3 <= value < 1e5 else f"{value:.0e}")
    axis.set_minor_locator(NullLocator())
