"""A series of a verdict as what stands in a panel: where each point goes, in the unit of the axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from normexp.claims.wording import Json, finite, measured, text
from normexp.report.aggregate import is_share
from normexp.report.groups import word

Point = tuple[float, list[float | None]]
"""A place across, and a value a seed."""


@dataclass(frozen=True)
class Curves:
    """A panel: what stands across and upwards, and the points of each arm.

    places: the names of the places 0, 1, ... across, where those are no numbers. linked: whether a line may lead from one to the
    next, since they have an order. words: what to call a place in a tip.
    """

    title: str
    across: str
    upwards: str
    arms: dict[str, list[Point]]
    line: float | None
    places: list[str] | None
    linked: bool
    log: bool
    words: dict[float, str]


def curves(each: Json, alike: Sequence[Json]) -> Curves:
    """A panel. alike: all series that have the same across, which then have the same places there."""
    across, measure = text(each.get("x")), str(each.get("y") or "")
    values = [finite(v) for other in alike for points in other["arms"].values() for _, of in points for v in of]
    # what is an accuracy by its name may be a number of steps by what was made of it
    times = 100.0 if is_share(measure) and all(abs(v) <= 1 for v in values if v is not None) else 1.0
    log = bool(each.get("log_x"))
    if across:
        at, places = _places({_key(x): x for other in alike for of in other["arms"].values() for x, _ in of}, log=log)
        words = {at[_key(x)]: text(word(x)) for of in each["arms"].values() for x, _ in of}
    else:
        names = list(dict.fromkeys(arm for other in alike for arm in other["arms"]))
        at, places, words = {name: float(i) for i, name in enumerate(names)}, [text(name) for name in names], {}
    made: dict[str, list[Point]] = {}
    for arm, points in each["arms"].items():
        scaled = [
            (at[_key(x) if across else arm], [None if (v := finite(one)) is None else times * v for one in of])
            for x, of in points
        ]
        made[arm] = sorted(scaled, key=lambda point: point[0])
    line = finite(each.get("line"))
    return Curves(
        title=text(each.get("title")),
        across=across,
        upwards=measured(measure) + (" (%)" if times > 1 else ""),
        arms=made,
        line=None if line is None else line * times,
        places=places,
        linked=bool(across)
        and all(finite(x) is not None for other in alike for of in other["arms"].values() for x, _ in of),
        log=log and places is None,
        words=words,
    )


def _places(xs: dict[str, Any], *, log: bool) -> tuple[dict[str, float], list[str] | None]:
    """Where each value stands: at itself, or, if some are no numbers that the axis can show, one beside the other."""
    numbers = {key: number for key, x in xs.items() if (number := finite(x)) is not None}
    if len(numbers) == len(xs) and not (log and min(numbers.values(), default=1) <= 0):
        return numbers, None
    ordered = sorted(xs, key=numbers.__getitem__) if len(numbers) == len(xs) else list(xs)
    return {key: float(i) for i, key in enumerate(ordered)}, [text(word(xs[key])) for key in ordered]


def _key(x: Any) -> str:
    return repr(float(x)) if isinstance(x, int | float) and not isinstance(x, bool) else repr(x)
