"""How groups are laid out over a figure: which share a colour, which a panel, and which there is room for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from normexp.report.curves import BEYOND
from normexp.report.groups import Group, Grouping, comparable, label, rank, word

Values = tuple[Any, ...]
"""The values of some keys, as `comparable` makes them."""


@dataclass(frozen=True)
class Layout:
    """How groups are told apart in a figure: one colour for each of `lines`, the values of the keys in `colours`.

    The keys in `others` are left for panels.
    """

    colours: list[str]
    others: list[str]
    lines: list[Values]
    names: list[str]

    def line(self, group: Group) -> int:
        """The index of a group's line."""
        return self.lines.index(values_of(group, self.colours))


@dataclass(frozen=True)
class Panel:
    """A panel of a figure: its place in the grid, and the groups that it shows."""

    row: int
    column: int
    title: str
    groups: list[Group]


@dataclass(frozen=True)
class Panels:
    """The panels of a figure, and sentences on what has no room."""

    panels: list[Panel]
    notes: list[str]

    @property
    def groups(self) -> list[Group]:
        return [group for panel in self.panels for group in panel.groups]


def values_of(group: Group, keys: Iterable[str]) -> Values:
    return tuple(comparable(group.values.get(key)) for key in keys)


def choices(groups: Sequence[Group], key: str) -> list[Any]:
    """The values that a key has among groups, each once, in order."""
    return sorted({comparable(group.values.get(key)) for group in groups}, key=lambda value: rank(key, value))


def is_number(value: Any) -> bool:
    """Whether a config's value can stand on an axis."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < BEYOND


def layout(grouping: Grouping, *, across: str | None = None) -> Layout:
    """The colours are the norms' where norms were compared; otherwise those of a key with at most nine values.

    across: the key that is on the x axis, which needs no colour. A key that only some norms have (norm.groups) tells
    lines of one norm apart.
    """
    groups = grouping.groups
    keys = [key for key in grouping.keys if key != across]
    found = {key: choices(groups, key) for key in keys}
    few = [key for key in keys if key == "norm" or len(found[key]) <= 9]
    first = sorted(few, key=lambda key: (key != "norm", all(map(is_number, found[key]))))[:1]
    partial = [key for key in keys if first == ["norm"] and key.startswith("norm.") and None in found[key]]
    colours = first + partial
    members = {values_of(group, colours): group for group in groups}
    lines = sorted(members, key=lambda line: [rank(key, value) for key, value in zip(colours, line, strict=True)])
    names = [label({key: members[line].values.get(key) for key in colours}) for line in lines]
    return Layout(colours, [key for key in keys if key not in colours], lines, names)


def panels(
    groups: Sequence[Group], keys: Sequence[str], *, at: Mapping[str, Any], most_rows: int = 3, most_columns: int = 4
) -> Panels:
    """A panel for each value of a key, or of two keys, one down and one across; others are held at their value in `at`."""
    found = {key: choices(groups, key) for key in keys}
    kept = sorted(keys, key=lambda key: -len(found[key]))[:2]  # the one with more values goes across
    groups, notes = hold(groups, [key for key in keys if key not in kept], at)
    folded = min(3, most_columns)  # columns of one key's values, where they take several rows
    room = [most_columns, most_rows] if len(kept) == 2 else [folded * most_rows]
    shown = {key: fit(key, found[key], most, notes) for key, most in zip(kept, room, strict=False)}
    wide = len(shown[kept[0]]) if kept else 1
    columns = wide if len(kept) == 2 or wide <= most_columns else folded
    made: dict[tuple[int, int], list[Group]] = {}
    for group in groups:
        values = values_of(group, kept)
        if all(value in shown[key] for key, value in zip(kept, values, strict=True)):
            across, down = [*(shown[key].index(value) for key, value in zip(kept, values, strict=True)), 0, 0][:2]
            made.setdefault((down, across) if len(kept) == 2 else divmod(across, columns), []).append(group)
    titles = {
        place: ", ".join(f"{key}={word(own[0].values.get(key))}" for key in reversed(kept))
        for place, own in made.items()
    }
    return Panels([Panel(*place, titles[place], own) for place, own in sorted(made.items())], notes)


def line_panels(groups: Sequence[Group], plan: Layout, *, at: Mapping[str, Any], rows: int, columns: int = 5) -> Panels:
    """A panel a group: the lines across and, where there is more than one row, the values of the key that has most of them down.

    Other keys are held at their value in `at`.
    """
    found = {key: choices(groups, key) for key in plan.others}
    down = sorted(found, key=lambda key: -len(found[key]))[: 1 if rows > 1 else 0]
    if len(plan.lines) == 1 and down:
        return panels(groups, plan.others, at=at)
    groups, notes = hold(groups, [key for key in plan.others if key not in down], at)
    lines = spread(plan.lines, columns)
    if len(lines) < len(plan.lines):
        notes.append(f"Of the {len(plan.lines)} values of {', '.join(plan.colours)}, {len(lines)} are shown.")
    values = fit(down[0], found[down[0]], rows, notes) if down else [()]
    made = []
    for group in groups:
        line, value = plan.lines[plan.line(group)], values_of(group, down)[0] if down else ()
        if line in lines and value in values:
            named = {key: group.values.get(key) for key in [*plan.colours, *down]}
            made.append(Panel(values.index(value), lines.index(line), label(named) if named else "", [group]))
    return Panels(sorted(made, key=lambda panel: (panel.row, panel.column)), notes)


def hold(groups: Sequence[Group], keys: Sequence[str], at: Mapping[str, Any]) -> tuple[Sequence[Group], list[str]]:
    """The groups that have these values of the keys, with a sentence that says so."""
    if not keys or not groups:
        return groups, []
    kept = [group for group in groups if values_of(group, keys) == tuple(at[key] for key in keys)]
    return kept, [f"Shown is {' '.join(f'{key}={word(at[key])}' for key in keys)}, where results are best."]


def fit(key: str, values: Sequence[Any], most: int, notes: list[str]) -> list[Any]:
    """As many of a key's values as there is room for; adds a sentence to the notes where some are left out."""
    if len(values) > most:
        notes.append(f"Of the {len(values)} values of {key}, {most} are shown.")
    return spread(values, most)


def spread(values: Sequence[Any], most: int) -> list[Any]:
    """At most so many of the values, evenly spread, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / max(most - 1, 1))] for i in range(most)]


def best_setting(grouping: Grouping, plan: Layout, score: Mapping[str, float]) -> dict[str, Any]:
    """The values of the keys without a colour at which most lines have a result, and of these the best.

    score: by the label of a group, higher is better; groups without a result have none.
    """
    scores: dict[Values, list[float]] = {}
    for group in grouping.groups:
        own = scores.setdefault(values_of(group, plan.others), [])
        own += [score[group.label]] if group.label in score else []
    best = max(scores, key=lambda at: (len(scores[at]), sum(scores[at]) / max(len(scores[at]), 1)), default=())
    return dict(zip(plan.others, best, strict=False))
