"""Figure of the costs: ratio to the network without a norm by batch size, one panel per model and phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from normexp.bench.cases import REFERENCE
from normexp.bench.results import CaseResult, Quartiles
from normexp.norms import NORMS
from normexp.plotting.colors import INK, NORM_STYLES, OTHER_COLORS, LineStyle, lighten
from normexp.plotting.style import Canvas, Panel, encode_figure, figure_style, new_canvas
from normexp.rundir import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW_TITLES = {"forward": "forward pass", "backward": "backward pass", "inference": "inference", "memory": "memory"}
"""Rows of panels. Inference also shows folded norms."""

DODGE, MAX_DODGE = 1.05, 1.25
"""Factor between the x positions of adjacent norms, so that error bars don't overlap, and its maximum over all norms."""

FINE_TICKS = (0.6, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4)
TICKS = (0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100)
"""Ratios that are labeled. The axis is logarithmic: with a linear one, an expensive norm makes all others look the same."""


def write_figure(path: Path, results: Sequence[CaseResult]) -> None:
    """Write the figure as PNG (300 dpi), SVG or PDF, by the file's suffix. Raises WriteError."""
    suffix = path.suffix.lower().removeprefix(".")
    with figure_style():
        content = encode_figure(draw(results).figure, suffix, "Cost of norms")
    atomic.write_bytes(path, content)


def draw(results: Sequence[CaseResult]) -> Canvas:
    """Draw a line per norm, with quartiles as error bars. The panels of a row share their y axis. Requires `figure_style`."""
    models = list(dict.fromkeys(result.model for result in results))
    norms = [norm for norm in NORMS if norm != REFERENCE and any(norm in result.costs for result in results)]
    lines = {}
    for i, norm in enumerate(norms):
        other = OTHER_COLORS[-1 - i % len(OTHER_COLORS)], "solid", "P"
        lines[norm] = LineStyle(norm, *NORM_STYLES.get(norm, other))
    folded_lines = {
        norm: replace(line, name=f"{norm}, folded", color=lighten(line.color, 0.5))
        for norm, line in lines.items()
        if any(result.ratio(norm, "folded") for result in results)
    }
    panels = [
        Panel(row, column, f"{model}, {title}")
        for row, title in enumerate(ROW_TITLES.values())
        for column, model in enumerate(models)
    ]
    dodge = min(DODGE, MAX_DODGE ** (1 / max(len(norms), 1)))
    height = 1.25 + 0.05 * max(0, len(norms) - 4)
    canvas = new_canvas(panels, legend=[*lines.values(), *folded_lines.values()], height=height, shared="row")
    for row, phase in enumerate(ROW_TITLES):
        drawn = [(phase, lines)] + ([("folded", folded_lines)] if phase == "inference" else [])
        ends = [1.0]
        for column, model in enumerate(models):
            axis = canvas.axes[row, column]
            axis.axhline(1, color=INK, linewidth=0.8, zorder=1)
            for i, norm in enumerate(norms):
                shift = dodge ** (i - (len(norms) - 1) / 2)
                for line_phase, styles in drawn:
                    points = [
                        (shift * result.batch_size, ratio)
                        for result in results
                        if result.model == model and (ratio := _ratio(result, norm, line_phase))
                    ]
                    if points:
                        _plot(axis, styles[norm], points)
                        ends += [end for _, ratio in points for end in (ratio.low, ratio.high)]
        margin = max(max(ends) / min(ends), 1.4) ** 0.1
        limits = min(ends) / margin, max(ends) * margin
        visible = [tick for tick in TICKS if limits[0] <= tick <= limits[1]]
        ticks = visible if len(visible) > 2 else [tick for tick in FINE_TICKS if limits[0] <= tick <= limits[1]]
        axis = canvas.axes[row, 0]
        axis.set_yscale("log")
        axis.set_ylim(*limits)
        axis.set_yticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
    sizes = sorted({result.batch_size for result in results})
    for axis in canvas.axes.values():
        axis.set_xscale("log")
        axis.set_xlim(sizes[0] / 1.3, sizes[-1] * 1.3)
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.minorticks_off()
    canvas.label_axes(x="batch size", y="ratio to none")
    return canvas


def _ratio(result: CaseResult, norm: str, phase: str) -> Quartiles | None:
    if phase != "memory":
        return result.ratio(norm, phase)
    memory = result.memory(norm)
    return None if memory is None else Quartiles(memory, memory, memory)


def _plot(axis: Axes, style: LineStyle, points: Sequence[tuple[float, Quartiles]]) -> None:
    sizes, ratios = zip(*points, strict=True)
    below = [ratio.median - ratio.low for ratio in ratios]
    above = [ratio.high - ratio.median for ratio in ratios]
    axis.errorbar(
        sizes, [ratio.median for ratio in ratios], yerr=[below, above], color=style.color, linestyle=style.dashes,
        marker=style.marker, elinewidth=0.8, capsize=1.8, capthick=0.8,
    )  # fmt: skip
