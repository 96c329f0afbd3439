"""How fast a run got where: a summary of its validation accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

LEVELS = (50, 80, 90, 95, 99)
"""Validation accuracies, in percent, whose first arrival is noted."""


@dataclass(frozen=True)
class Point:
    """One evaluation. seconds: of training, evaluations left out."""

    step: int
    seconds: float
    accuracy: float


def convergence(points: Sequence[Point]) -> dict[str, float | None]:
    """By tag: steps and seconds to each level (null: not reached; as fine as evaluations are frequent), the best accuracy and
    its step, and the area under the accuracy over the steps, as a mean accuracy from 0 to 1 (trapezoidal rule).
    """
    summary: dict[str, float | None] = {}
    for level in LEVELS:
        first = next((p for p in points if p.accuracy >= level / 100), None)
        summary[f"convergence/steps_to_{level}"] = None if first is None else first.step
        summary[f"convergence/seconds_to_{level}"] = None if first is None else first.seconds
    if points:
        best = max(points, key=lambda p: p.accuracy)
        summary["convergence/best_accuracy"] = best.accuracy
        summary["convergence/best_step"] = best.step
    if len(points) > 1:
        area = sum((b.step - a.step) * (a.accuracy + b.accuracy) / 2 for a, b in pairwise(points))
        summary["convergence/area_under_curve"] = area / (points[-1].step - points[0].step)
    return summary
