"""The final metric against what was swept: lines over a number, and heat maps of two keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from normexp.plotting.colours import FAINT, INK, looks
from normexp.plotting.style import (
    NARROW,
    WIDE,
    Canvas,
    Drawn,
    canvas,
    heading,
    outer_labels,
    plain,
    short,
    sign,
    stem,
)
from normexp.report.aggregate import Row, higher_is_better, is_share, mean_and_std, outcome, title
from normexp.report.curves import BEYOND
from normexp.report.figures.panels import choices, is_number, layout, panels, spread, values_of
from normexp.report.figures.study import Study
from normexp.report.groups import word

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SO_FAR = "Groups of which no run has ended yet stand where they are so far."

COLUMNS = ["mean", "std", "n", "diverged", "runs"]


def swept_numbers(study: Study) -> list[str]:
    """The keys that have at least two numbers."""
    found = {key: choices(study.grouping.groups, key) for key in study.grouping.keys}
    return [key for key, values in found.items() if sum(map(is_number, values)) > 1]


def effect(study: Study, key: str) -> Drawn | None:
    """The metric against a swept number: a line for each norm, error bars over seeds. None where no group has a result."""
    plan = layout(study.grouping, across=key)
    groups = [group for group in study.grouping.groups if is_number(group.values.get(key))]
    grid = panels(groups, plan.others, at=study.setting)
    table = study.rows_of(grid.groups)
    if not any(_mean(row) is not None or row.states.get("diverged") for row in table):
        return None
    styles = looks(plan)
    diverged = any(row.states.get("diverged") for row in table)
    legend: list[Any] = [styles[i] for i in sorted({plan.line(g) for g in grid.groups})] if plan.colours else []
    drawn = canvas(grid.panels, legend=[*legend, *([sign("x", "diverged")] if diverged else [])])
    factor = 100.0 if is_share(study.metric) else 1.0
    numbers = choices(grid.groups, key)
    most_lost = 0
    same = plan.lines == study.plan.lines  # if not, the page can't hide these lines with those of other figures
    for panel in grid.panels:
        axes = drawn.axes[panel.row, panel.column]
        lost = 0
        for i, look in enumerate(styles):
            line = i if same else None
            own = sorted(
                (row for row in study.rows_of(panel.groups) if plan.line(row.group) == i),
                key=lambda row: row.group.values[key],
            )
            points = [(row, row.group.values[key], factor * mean) for row in own if (mean := _mean(row)) is not None]
            if points:
                x, y = [x for _, x, _ in points], [y for _, _, y in points]
                bars = axes.vlines(
                    x,
                    [y - factor * (row.std or 0) for row, _, y in points],
                    [y + factor * (row.std or 0) for row, _, y in points],
                    color=look.colour,
                    linewidth=1,
                )
                drawn.mark(bars, line)
                (path,) = axes.plot(x, y, color=look.colour, linestyle=look.dashes, marker=look.marker)
                drawn.mark(path, line, [_tip(row, study.metric) for row, _, _ in points] + [""])
            if any(row.states.get("diverged") for row in own):
                _crosses(drawn, axes, own, key, line=line, colour=look.colour, below=lost)
                lost += 1
        most_lost = max(most_lost, lost)
    axes = next(iter(drawn.axes.values()))
    for each in drawn.axes.values():
        if numbers[0] > 0 and numbers[-1] > 9.99 * numbers[0]:
            each.set_xscale("log")
        ticks = spread(numbers, 6 if len(drawn.axes) < 3 else 4)
        each.set_xticks(ticks, [word(tick) for tick in ticks])
        each.minorticks_off()
    low, high = axes.get_ylim()
    strip = 0.12 * most_lost + 0.04 * bool(most_lost)  # of the height, for the crosses
    axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= high])
    axes.set_ylim(low - strip / (1 - strip) * (high - low), high)
    outer_labels(drawn, x=key, y=title(study.metric) + (" (%)" if is_share(study.metric) else ""))
    return Drawn(
        name=stem(f"{study.metric}-by-{key}"),
        title=f"{heading(study.metric)} by {key}",
        caption="Markers: mean over the completed runs of a group; bars: one standard deviation either way. "
        + "A cross at the lower edge, with their number: runs that diverged there. " * diverged
        + SO_FAR * any(row.so_far for row in table),
        figure=drawn.figure,
        header=[*study.grouping.keys, *COLUMNS],
        rows=[result_columns(row) for row in table],
        tips=drawn.tips,
        notes=grid.notes,
    )


def _crosses(
    drawn: Canvas, axes: Axes, rows: Sequence[Row], key: str, *, line: int | None, colour: str, below: int
) -> None:
    """Crosses at the lower edge, above those of so many other lines, and how many runs diverged where a group has several."""
    height = 0.05 + 0.12 * below
    for row in rows:
        if not row.states.get("diverged"):
            continue
        (mark,) = axes.plot(
            [row.group.values[key]],
            [height],
            transform=axes.get_xaxis_transform(),
            color=colour,
            marker="x",
            markersize=5,
            markeredgewidth=1.4,
            linestyle="none",
        )
        drawn.mark(mark, line, [f"{row.group.label}: {outcome(row, '')}"])
        if len(row.group.runs) > 1:
            count = axes.annotate(
                str(row.states["diverged"]),
                (row.group.values[key], height),
                xycoords=axes.get_xaxis_transform(),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=6,
                color=colour,
            )
            drawn.mark(count, line)


def heat_map(study: Study) -> Drawn | None:
    """Where two keys or more were swept: the norm down, the key with most values across; a panel for each value of others."""
    plan = study.plan
    counts = {key: len(choices(study.grouping.groups, key)) for key in plan.others}
    if not counts or not study.table:
        return None
    across = max(counts, key=lambda key: counts[key])
    others = [key for key in plan.others if key != across]
    fit_beside = max(1, min(3, int(6 / (0.45 * counts[across]))))
    grid = panels(study.grouping.groups, others, at=study.setting, most_rows=3, most_columns=fit_beside)
    columns = choices(grid.groups, across)
    table = study.rows_of(grid.groups)
    if all(_mean(row) is None for row in table):
        return None
    lines = [i for i in range(len(plan.lines)) if any(plan.line(group) == i for group in grid.groups)]
    names = [short(plan.names[i].removeprefix("norm="), 32) for i in lines]  # longer ones leave no room for the cells
    wide = max(panel.column for panel in grid.panels) + 1
    drawn = canvas(
        grid.panels,
        height=0.3 * len(lines) + 0.05,
        left=max(0.58, 0.3 + 0.065 * max(map(len, names))),
        width=min(WIDE, max(NARROW, 1 + 0.6 * len(columns) * wide)),
    )
    room = next(iter(drawn.axes.values())).get_position().width * drawn.figure.get_figwidth() / len(columns)
    shades = _Shades([mean for row in table if (mean := _mean(row)) is not None], study.metric)
    for panel in grid.panels:
        axes = drawn.axes[panel.row, panel.column]
        rows = {(plan.line(row.group), values_of(row.group, [across])[0]): row for row in study.rows_of(panel.groups)}
        for y, line in enumerate(lines):
            for x, value in enumerate(columns):
                if row := rows.get((line, value)):
                    _cell(drawn, axes, (x, y), row, shades=shades, room=room)
                else:
                    axes.text(x + 0.5, y + 0.5, "-", ha="center", va="center")
        axes.set_xlim(0, len(columns))
        axes.set_ylim(len(lines), 0)
        ticks = spread(range(len(columns)), int(len(columns) * room / 0.36))
        axes.set_xticks([i + 0.5 for i in ticks], [word(columns[i]) for i in ticks])
        axes.set_yticks([i + 0.5 for i in range(len(lines))], names)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    outer_labels(drawn, x=across, y=", ".join(plan.colours))
    return Drawn(
        name=stem(f"{study.metric}-heat-map"),
        title=f"{heading(study.metric)} by {', '.join(plan.colours)} and {across}",
        caption=f"Each cell: the mean of {title(study.metric)}{' in %' if is_share(study.metric) else ''} over the completed "
        "runs of a group; lighter is better. "
        + "div: all diverged; *: some did. " * any(row.states.get("diverged") for row in table)
        + SO_FAR * any(row.so_far for row in table),
        figure=drawn.figure,
        header=[*study.grouping.keys, *COLUMNS],
        rows=[result_columns(row) for row in table],
        tips=drawn.tips,
        recolour=False,
        notes=grid.notes,
    )


class _Shades:
    """The colour of a cell: the better, the lighter, logarithmic where values are far apart."""

    def __init__(self, means: Sequence[float], metric: str) -> None:
        from matplotlib import colormaps
        from matplotlib.colors import LogNorm, Normalize

        low, high = min(means), max(means)
        self.metric = metric
        self.norm = LogNorm(low, high) if 0 < 100 * low < high else Normalize(low, high if high > low else low + 1e-9)
        self.colours = colormaps["viridis" if higher_is_better(metric) else "viridis_r"]

    def __call__(self, mean: float) -> tuple[str, str]:
        """The colour of the cell, and of text that can be read on it."""
        from matplotlib.colors import to_hex

        red, green, blue, _ = self.colours(float(self.norm(mean)))
        bright = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.18
        return to_hex((red, green, blue)), "#000000" if bright else "#ffffff"


def _cell(drawn: Canvas, axes: Axes, at: tuple[int, int], row: Row, *, shades: _Shades, room: float) -> None:
    """A cell of the heat map. room: its width in inches."""
    from matplotlib.patches import Rectangle

    x, y = at
    diverged = row.states.get("diverged", 0)
    mean = _mean(row)
    face, ink = ("none", INK) if mean is None else shades(mean)
    box = Rectangle((x + 0.02, y + 0.03), 0.96, 0.94, facecolor=face, edgecolor=FAINT, linewidth=0.6)
    axes.add_patch(box)
    drawn.mark(box, None, [_tip(row, shades.metric)])
    if mean is None:
        text = "div" if diverged else "-"
    else:
        text = f"{100 * mean:.1f}" if is_share(shades.metric) else plain(float(f"{mean:.2g}"))
        text += "*" * bool(diverged)
    axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", color=ink, fontsize=7.5 if room > 0.42 else 6)


def _mean(row: Row) -> float | None:
    """A mean that can be drawn."""
    return row.mean if row.mean is not None and abs(row.mean) < BEYOND else None


def _tip(row: Row, metric: str) -> str:
    """'norm=bn lr=0.1: 97.42 % ± 0.11 (n=3), 1 of 4 diverged'."""
    value = f"{mean_and_std(row, metric)} (n={row.n})" if row.n else ""
    return f"{row.group.label}: {', '.join(filter(None, [value, outcome(row, metric)]))}"


def result_columns(row: Row) -> list[Any]:
    """The values of a group's keys and COLUMNS, for a table."""
    return [*row.group.values.values(), row.mean, row.std, row.n, row.states.get("diverged", 0), len(row.group.runs)]
