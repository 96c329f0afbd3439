"""Axes whose values are positive numbers, such as learning rates: their step, and values beyond them."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from normexp.claims.schema import Value, is_number

MAX_ROUNDING = 0.15
"""Largest relative change for the sake of a single digit: beyond 0.3 and 1 comes 3, but beyond 0.2 and 0.5 comes 1.25."""


def is_grid(values: Sequence[Value]) -> bool:
    """Whether these are several positive numbers."""
    return len(values) > 1 and all(is_number(value) and value > 0 for value in values)


def grid_step(values: Iterable[Value]) -> float:
    """Mean distance in decades between neighboring values, which are positive numbers."""
    numbers = [float(value) for value in values if is_number(value)]
    return math.log10(max(numbers) / min(numbers)) / max(1, len(numbers) - 1)


def extend(values: Sequence[Value], best: Value) -> list[Value]:
    """The values with another one beyond the best if that is the smallest or largest, at the distance of its neighbor."""
    numbers: list[float] = sorted(value for value in values if is_number(value))
    for end, neighbor in (numbers[:2], numbers[:-3:-1]) if len(numbers) > 1 else ():
        number = end * (end / neighbor)
        added = _rounded(number, values) if number > 0 else end
        if best == end and (added - end) * (end - neighbor) > 0 and added > 0:
            return [added, *values] if end < neighbor else [*values, added]
    return list(values)


def _rounded(number: float, values: Sequence[Value]) -> float:
    """A number rounded to a digit if that is near enough, as in 1, 3, 10; to an integer if the values are integers."""
    if all(isinstance(value, int) for value in values):
        return round(number)
    return min(float(f"{number:.1g}"), float(f"{number:.6g}"), key=lambda x: abs(x / number - 1) > MAX_ROUNDING)


def nearest(multiple: Any, value: Any, values: Sequence[Any]) -> Value:
    """The multiple of a value: the nearest of the axis values, or itself if it is more than half a step from all."""
    target = multiple * value
    closest: Value = min(values, key=lambda other: abs(math.log10(other / target)))
    return closest if abs(math.log10(closest / target)) <= grid_step(values) / 2 + 1e-9 else _rounded(target, values)
