"""The values behind a claim's conditions, for its figure: each arm's, along an axis where there is one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from normexp.claims.effects import Measured
from normexp.claims.schema import Claim, Condition, Measure, Value, point_text

MOST = 9
"""Panels of a claim's figure."""


def series(claim: Claim, measured: Measured) -> list[dict[str, Any]]:
    """A panel for each measure and each value of the axes that it is not drawn along."""
    found: list[dict[str, Any]] = []
    drawn: set[tuple[Measure, str | None]] = set()
    for condition in claim.rule:
        for measure in filter(None, (condition.measure, condition.other)):
            if (measure, axis := _along(condition, claim)) not in drawn:
                drawn.add((measure, axis))
                found += _panels(condition, measure, axis, claim, measured)
    return found[:MOST]


def _along(condition: Condition, claim: Claim) -> str | None:
    """The axis of the panels: what is taken over, else contrasted, else the one with most numbers."""
    assert claim.sweep is not None
    if condition.over is not None:
        return condition.over
    if condition.contrast is not None:
        return condition.contrast[0]
    axes = claim.sweep.axes
    numeric = [a for a, values in axes.items() if len(values) > 1 and all(map(_is_number, values))]
    return max(numeric, key=lambda a: len(axes[a]), default=None)


def _panels(
    condition: Condition, measure: Measure, axis: str | None, claim: Claim, measured: Measured
) -> Iterator[dict[str, Any]]:
    assert claim.sweep is not None
    others = {a: tuple(values) for a, values in claim.sweep.axes.items() if a != axis}
    places = tuple(claim.sweep.axes[axis]) if axis else ("",)
    log = bool(axis) and all(_is_number(v) and v > 0 for v in places) and max(places) >= 10 * min(places)  # type: ignore[operator, type-var]
    for values in itertools.product(*others.values()):
        rest = dict(zip(others, values, strict=True))
        arms = {
            arm: [
                [
                    value,
                    [measured(measure, arm, {**rest, **({axis: value} if axis else {})}, seed) for seed in claim.seeds],
                ]
                for value in places
            ]
            for arm in claim.sweep.arms
        }
        plain = (
            condition.how == "value" and condition.contrast is None and condition.take in ("best", "min", "max", "mean")
        )
        line = condition.working if condition.working is not None else condition.threshold if plain else None
        yield {
            "title": point_text(tuple(rest.items())),
            "x": axis or "",
            "log_x": log,
            "y": measure.tag if measure.at == "last" else f"{measure.tag} ({_at(measure)})",
            "line": line,
            "arms": arms,
        }


def _at(measure: Measure) -> str:
    return f"step {measure.at}" if isinstance(measure.at, int) else measure.at


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
