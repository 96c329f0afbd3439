"""What was measured, as a figure: a panel for each model and phase, the ratio to no norm over the batch size."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from normexp.bench.cases import REFERENCE
from normexp.bench.results import Measured, Spread
from normexp.norms import NORMS
from normexp.plotting import colours
from normexp.plotting.colours import INK, Look, lighter
from normexp.plotting.style import Canvas, canvas, style
from normexp.report.figures.panels import Panel
from normexp.rundir import atomic

ROWS = {"forward": "forward pass", "backward": "backward pass", "inference": "inference", "memory": "memory"}
"""What a row of panels shows. Folded batch norm is a line of its own among those of inference."""

ASIDE = 1.05
"""By how much of the batch size the points of two norms are apart, so that their bars don't hide one another."""

SUFFIXES = ("png", "svg", "pdf")


def write(path: Path, measured: Sequence[Measured]) -> None:
    """The figure as PNG (300 dpi), SVG or PDF, by the ending of the file's name. Raises WriteError."""
    buffer = io.BytesIO()
    suffix = path.suffix.lower().removeprefix(".")
    undated = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}
    metadata: dict[str, Any] = undated[suffix]
    with style():
        draw(measured).figure.savefig(buffer, format=suffix, dpi=300, metadata=metadata)
    atomic.write_bytes(path, buffer.getvalue())


def draw(measured: Sequence[Measured]) -> Canvas:
    """In a `style` block. A line for each norm, with the quartiles as bars; all panels of a row have the same scale."""
    models = list(dict.fromkeys(of.model for of in measured))
    there = {norm for of in measured for norm in of.costs}
    norms = [norm for norm in NORMS if norm in there and norm != REFERENCE]
    looks = {norm: _look(norm, i) for i, norm in enumerate(norms)}
    folded = {
        norm: _folded(looks[norm])
        for norm in norms
        if any(of.costs[norm].folded for of in measured if norm in of.costs)
    }
    panels = [
        Panel(row, column, f"{model}, {title}", [])
        for row, title in enumerate(ROWS.values())
        for column, model in enumerate(models)
    ]
    drawn = canvas(panels, legend=[*looks.values(), *folded.values()], height=1.25, shared="row")
    for (row, column), axis in drawn.axes.items():
        phase, cases = list(ROWS)[row], [of for of in measured if of.model == models[column]]
        axis.axhline(1, color=INK, linewidth=0.8, zorder=1)
        for i, (norm, look) in enumerate(looks.items()):
            aside = ASIDE ** (i - (len(looks) - 1) / 2)
            _line(axis, look, [(aside * of.batch_size, _value(of, norm, phase)) for of in cases])
            if phase == "inference" and norm in folded:
                _line(axis, folded[norm], [(aside * of.batch_size, _value(of, norm, "folded")) for of in cases])
    _axes(drawn, sorted({of.batch_size for of in measured}))
    for row, phase in enumerate(ROWS):
        shown = (phase, "folded") if phase == "inference" else (phase,)
        values = [_value(of, norm, each) for of in measured for norm in of.costs for each in shown]
        _upwards(drawn.axes[row, 0], [value for value in values if value is not None])
    return drawn


def _value(of: Measured, norm: str, phase: str) -> Spread | None:
    if norm not in of.costs:
        return None
    if phase != "memory":
        return of.ratio(norm, phase)
    memory = of.memory(norm)
    return None if memory is None else Spread(memory, memory, memory)


def _line(axis: Any, look: Look, points: Sequence[tuple[float, Spread | None]]) -> None:
    there = [(size, value) for size, value in points if value is not None]
    if not there:
        return
    middle = [value.median for _, value in there]
    below = [value.median - value.low for _, value in there]
    above = [value.high - value.median for _, value in there]
    axis.errorbar(
        [size for size, _ in there],
        middle,
        yerr=[below, above],
        color=look.colour,
        linestyle=look.dashes,
        marker=look.marker,
        elinewidth=0.8,
        capsize=1.8,
        capthick=0.8,
    )


def _axes(drawn: Canvas, sizes: Sequence[int]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    low, high = sizes[0] / 1.3, sizes[-1] * 1.3
    last = max(row for row, _ in drawn.axes)
    for (row, column), axis in drawn.axes.items():
        axis.set_xscale("log")
        axis.set_xlim(low, high)
        axis.xaxis.set_major_locator(FixedLocator(sizes))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        if row == last:
            axis.set_xlabel("batch size")
        if column == 0:
            axis.set_ylabel("ratio to none")


def _upwards(axis: Any, values: Sequence[Spread]) -> None:
    """The limits of a row of panels, by its medians: on a busy machine a bar may be many times as long as all else is high."""
    medians = [value.median for value in values]
    room = 0.2 * max(max(medians) - min(medians), 0.2)
    axis.set_ylim(min(medians) - room, max(medians) + 2 * room)


def _look(norm: str, index: int) -> Look:
    colour, dashes, marker = colours.NORMS.get(norm) or (colours.OTHERS[-1 - index % len(colours.OTHERS)], "solid", "P")
    return Look(norm, colour, dashes, marker)


def _folded(look: Look) -> Look:
    return Look(f"{look.name}, folded", lighter(look.colour, 0.5), look.dashes, look.marker)
