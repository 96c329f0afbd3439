"""Speed of convergence, summarized from the validation accuracies of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

ACCURACY_LEVELS = (50, 80, 90, 95, 99)
"""Validation accuracies in percent; the first step at which each is reached is recorded."""


@dataclass(frozen=True)
class Point:
    """One validation. seconds: of training, without evaluations."""

    step: int
    seconds: float
    accuracy: float


def convergence(points: Sequence[Point]) -> dict[str, float | None]:
    """Summarize the validations, by tag.

    Steps and seconds to each level (None if it was not reached; their resolution is `eval_every`), the best accuracy and its
    step, and the area under the accuracy curve over the steps, as a mean accuracy in [0, 1] (trapezoidal rule).
    """
    summary: dict[str, float | None] = {}
    for level in ACCURACY_LEVELS:
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
