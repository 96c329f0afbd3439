"""A claim: a sentence about norms, the runs that test it, and the rule that decides. One yaml file each, read here.

The rule is data, and stands in the file before anything is trained.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from normexp.config import Objective

Scale = Literal["small", "full"]
Comparison = Literal["difference", "ratio", "value", "correlation", "each"]
Direction = Literal[">=", "<=", "within"]
Take = Literal["best", "decades", "largest", "min", "max", "mean", "gain", "slope"]
At = Literal["last", "first", "mean", "max", "min"]
Across = Literal["mean", "max", "min", "first", "last", "first/last"]

Value = float | int | str | bool | None
Point = tuple[tuple[str, Value], ...]
"""A value for each of some axes, in the order of the file: (("activation", "relu"), ("lr", 0.1))."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number from a run.

    tag: of a scalar, or a pattern with * for those of several layers, of which `across` makes one number ("first/last": the
    power of ten of the first layer's over the last one's). at: which entry of it: the last one, the first one, a step (the
    last entry up to it), or the mean, the largest or the least of all. below: a tag and one or two levels of it: only entries
    count from where it first came down to the one until where it first came down to the other, so that networks are compared
    that have come equally far.
    """

    tag: str
    at: At | int = "last"
    across: Across = "mean"
    below: tuple[str, float, float | None] | None = None


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What must hold, with the keys that a claim's file gives it.

    Of each run a `measure`; over the axis `over`, if any, a `take` of its values; of the arms in `compare` an effect (`how`);
    over seeds its confidence interval; and of that the verdict, by `direction`, `threshold` and `margin`.

    working: for decades and largest, the measure from which on a value of the axis works. choose: for best and gain, what the
    value of the axis is chosen by, for each arm by itself: never anything of the test set. where: the cells that count, by axis.
    contrast: an axis and two of its values: the effect at the first minus that at the second (for ratios: over it). other:
    the second measure of a correlation. refuted_beyond: where the line that refutes is not the one that confirms, that line;
    between the two it is inconclusive. decides: whether the verdict depends on it; else it is reported alone.
    """

    what: str
    measure: Measure
    over: str | None = None
    take: Take = "best"
    working: float | None = None
    choose: Objective = "val/accuracy"
    compare: tuple[str, ...] = ()
    how: Comparison
    contrast: tuple[str, Value, Value] | None = None
    other: Measure | None = None
    where: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    direction: Direction
    threshold: float
    margin: float | None = None
    refuted_beyond: float | None = None
    decides: bool = True


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The runs: `base` for all, and every combination of an arm, a value of each axis, and a seed.

    arms: their overrides by name. axes: for each axis its values, each with its overrides.
    """

    base: tuple[str, ...]
    arms: Mapping[str, tuple[str, ...]]
    axes: Mapping[str, Mapping[Value, tuple[str, ...]]]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """As its file says it, for one scale. exact: it is computed, not trained. combine: whether all deciding conditions must hold
    for it to be confirmed, or any of them. requires: what must hold on average for the comparison to mean anything."""

    name: str
    kind: Literal["exact", "experiment"]
    statement: str
    source: str
    explanation: str
    cost: str
    seeds: tuple[int, ...]
    sweep: Sweep | None
    rule: tuple[Condition, ...]
    requires: tuple[Condition, ...] = ()
    combine: Literal["all", "any"] = "all"
    scale: Scale = "small"
    quick: bool = False

    @property
    def mark(self) -> str:
        """Of all that the file says: another mark, another claim."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:8]


OBJECTIVES: tuple[str, ...] = get_args(Objective)


def point_text(point: Point) -> str:
    """'activation=relu, lr=0.1'."""
    return ", ".join(f"{axis}={json.dumps(v) if isinstance(v, bool) or v is None else v}" for axis, v in point)
