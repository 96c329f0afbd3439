"""Layout of groups over a figure: which of them share a line style, which a panel, and which are left out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from normexp.config import LENGTH_KEYS
from normexp.plotting.colors import NORM_STYLES, LineStyle, line_styles
from normexp.plotting.labels import evenly_spaced
from normexp.plotting.style import Panel
from normexp.report.groups import Group, Grouping, choices, format_value, hashable, is_number, sort_key
from normexp.report.names import PLAIN, Names

MAX_ROWS = 3
"""Rows of panels in a figure; more would not fit a screen."""

Values = tuple[Any, ...]
"""Values of some config keys, as `hashable` returns them."""


@dataclass(frozen=True)
class LineLayout:
    """Assignment of groups to lines: one for each combination of values of `line_keys`. `panel_keys` are left for panels.
    lines: these combinations; names: their labels."""

    line_keys: list[str]
    panel_keys: list[str]
    lines: list[Values]
    names: list[str]

    def line(self, group: Group) -> int:
        """Index of a group's line."""
        return self.lines.index(key_of(group, self.line_keys))

    @property
    def styles(self) -> list[LineStyle]:
        """Style of each line: a norm's own, or a color scale for numbers."""
        heads = [line[0] if line else None for line in self.lines]
        norms = [head if self.line_keys[:1] == ["norm"] and head in NORM_STYLES else None for head in heads]
        return line_styles(self.names, norms, sequential=all(map(is_number, heads)))

    def legend(self, groups: Iterable[Group]) -> list[LineStyle]:
        """Legend entries of the groups' lines: none for a single unnamed line."""
        styles = self.styles
        return [styles[line] for line in sorted(set(map(self.line, groups)))] if self.line_keys else []


@dataclass(frozen=True)
class Setting:
    """Values of the panel keys at which figures are drawn that can't show all. chosen_by: title of the metric, or empty."""

    values: Mapping[str, Any]
    chosen_by: str = ""


@dataclass(frozen=True)
class GroupPanel(Panel):
    """A panel and the groups in it."""

    groups: list[Group]


@dataclass(frozen=True)
class PanelGrid:
    """The panels of a figure, and sentences on what is left out."""

    panels: list[GroupPanel]
    notes: list[str]

    @property
    def groups(self) -> list[Group]:
        return [group for panel in self.panels for group in panel.groups]


def key_of(group: Group, keys: Iterable[str]) -> Values:
    return tuple(hashable(group.values.get(key)) for key in keys)


def line_layout(grouping: Grouping, *, across: str | None = None, display: Names = PLAIN) -> LineLayout:
    """One line per norm if norms are compared; otherwise per value of a key with at most nine. across: the key on the x axis. A
    key that only some norms have (norm.groups) tells lines of one norm apart. Panels don't differ in length (epochs, steps) where
    other keys tell the groups apart."""
    groups = grouping.groups
    keys = [key for key in grouping.keys if key != across]
    values = {key: choices(groups, key) for key in keys}
    few = [key for key in keys if key == "norm" or len(values[key]) <= 9]
    first = sorted(few, key=lambda key: (key != "norm", all(map(is_number, values[key]))))[:1]
    partial = [key for key in keys if first == ["norm"] and key.startswith("norm.") and None in values[key]]
    line_keys = first + partial
    members = {key_of(group, line_keys): group for group in groups}
    lines = sorted(members, key=lambda line: list(map(sort_key, line_keys, line)))
    names = [display.label({key: members[line].values.get(key) for key in line_keys}) for line in lines]
    telling = list(grouping.keys)  # without lengths that add nothing, such as those of two runs with different norms
    for length in LENGTH_KEYS:
        others = [key for key in telling if key != length]
        if length not in (across, *line_keys) and len({key_of(group, others) for group in groups}) == len(groups):
            telling = others
    return LineLayout(line_keys, [key for key in keys if key in telling and key not in line_keys], lines, names)


def panel_grid(
    groups: Sequence[Group], keys: Sequence[str], *, at: Setting, max_columns: int = 4, display: Names = PLAIN
) -> PanelGrid:
    """One panel per value of a key, or per pair of values of two keys; further keys are fixed at their value in `at`."""
    values = {key: choices(groups, key) for key in keys}
    kept = sorted(keys, key=lambda key: -len(values[key]))[:2]  # the one with more values goes across
    groups, notes = _fix(groups, [key for key in keys if key not in kept], at)
    values = {key: choices(groups, key) for key in kept}  # of the groups that are left, or whole columns would be empty
    folded = min(3, max_columns)  # columns of one key's values that fill several rows
    limits = [max_columns, MAX_ROWS] if len(kept) == 2 else [folded * MAX_ROWS]
    shown = {key: _limit(key, values[key], limit, notes) for key, limit in zip(kept, limits, strict=False)}
    wide = len(shown[kept[0]]) if kept else 1
    columns = wide if len(kept) == 2 or wide <= max_columns else folded
    members: dict[tuple[int, int], list[Group]] = {}
    for group in groups:
        own = key_of(group, kept)
        if all(value in shown[key] for key, value in zip(kept, own, strict=True)):
            across, down = [*(shown[key].index(value) for key, value in zip(kept, own, strict=True)), 0, 0][:2]
            members.setdefault((down, across) if len(kept) == 2 else divmod(across, columns), []).append(group)
    panels = [
        GroupPanel(*position, ", ".join(display.pair(key, own[0].values.get(key)) for key in reversed(kept)), own)
        for position, own in sorted(members.items())
    ]
    return PanelGrid(panels, notes)


def panels_by_line(
    groups: Sequence[Group], layout: LineLayout, *, at: Setting, rows: int, display: Names = PLAIN
) -> PanelGrid:
    """One panel per group: lines across and, with several rows, the values of one key down; others are fixed as in `at`."""
    by_variety = sorted(layout.panel_keys, key=lambda key: -len(choices(groups, key)))
    down = by_variety[: 1 if rows > 1 else 0]
    if len(layout.lines) == 1 and down:
        return panel_grid(groups, layout.panel_keys, at=at, display=display)
    groups, notes = _fix(groups, [key for key in layout.panel_keys if key not in down], at)
    present = [layout.lines[i] for i in sorted(set(map(layout.line, groups)))]
    lines = evenly_spaced(present, 5)
    if len(lines) < len(present):
        notes.append(f"{len(lines)} of {len(present)} values of {', '.join(layout.line_keys)} shown.")
    shown = [(value,) for value in _limit(down[0], choices(groups, down[0]), rows, notes)] if down else [()]
    panels = []
    keys = [*layout.line_keys, *down]
    for group in groups:
        line, value = key_of(group, layout.line_keys), key_of(group, down)
        if line in lines and value in shown:
            title = display.label({key: group.values.get(key) for key in keys}) if keys else ""
            panels.append(GroupPanel(shown.index(value), lines.index(line), title, [group]))
    return PanelGrid(sorted(panels, key=lambda panel: (panel.row, panel.column)), notes)


def _fix(groups: Sequence[Group], keys: Sequence[str], at: Setting) -> tuple[Sequence[Group], list[str]]:
    """The groups that have these values of the keys, with a note that says so."""
    if not keys or not groups:
        return groups, []
    kept = [group for group in groups if key_of(group, keys) == tuple(at.values[key] for key in keys)]
    reason = f", chosen by {at.chosen_by}" if at.chosen_by else ""
    return kept, [f"Shown at {' '.join(f'{key}={format_value(at.values[key])}' for key in keys)}{reason}."]


def _limit(key: str, values: Sequence[Any], limit: int, notes: list[str]) -> list[Any]:
    """At most `limit` of a key's values; adds a note if some are left out."""
    if len(values) > limit:
        notes.append(f"{limit} of {len(values)} values of {key} shown.")
    return evenly_spaced(values, limit)


def best_values(grouping: Grouping, layout: LineLayout, score: Mapping[str, float]) -> dict[str, Any]:
    """Values of the panel keys at which most lines have a score (by label) and, of these, the mean score is highest."""
    scores: dict[Values, list[float]] = {}
    for group in grouping.groups:
        own = scores.setdefault(key_of(group, layout.panel_keys), [])
        own += [score[group.label]] if group.label in score else []
    best = max(scores, key=lambda at: (len(scores[at]), sum(scores[at]) / max(len(scores[at]), 1)), default=())
    return dict(zip(layout.panel_keys, best, strict=False))
