"""Types of a claim: the statement, the sweep that tests it, and the rule that decides. One yaml file per claim.

The rule is data, fixed in the file before anything is trained.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeGuard

from normexp.config import Objective

Scale = Literal["small", "full"]
Comparison = Literal["difference", "ratio", "value", "correlation", "each"]
Direction = Literal[">=", "<=", "within"]
Reduction = Literal["best", "decades", "largest", "min", "max", "mean", "gain", "slope"]
At = Literal["last", "first", "mean", "max", "min"]
Across = Literal["mean", "max", "min", "first", "last", "first/last"]

Value = float | int | str | bool | None
Point = Mapping[str, Value]
"""The value of each of some axes: {"activation": "relu", "lr": 0.1}."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number read from a run.

    tag: a scalar's tag, or a pattern with * that matches several layers. across: how several layers are reduced to one number;
    "first/last" is log10(first layer / last layer). at: which logged value to use: the last, the first, the last up to a step,
    or the mean, max or min of all. below: a tag and one or two levels. Only values logged after that tag first fell to the first
    level count, and only until it fell to the second. This compares networks at the same loss.
    """

    tag: str
    at: At | int = "last"
    across: Across = "mean"
    below: tuple[str, float, float | None] | None = None


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One line of a rule, as written in the claim's file.

    A measure of each run is reduced along the axis `over`, if there is one. The arms are compared, and the confidence interval
    of that effect over seeds is held against `threshold`.

    working_level: with decades and largest, an axis value works if the measure is at least this.
    choose_by: with best and gain, the validation metric that picks the axis value, separately for each arm.
    contrast: an axis and two of its values; the effect at the first minus the effect at the second (ratios are divided).
    other: the second measure of a correlation.
    where: restricts the cells to these axis values.
    refuted_beyond: the line that refutes, if it isn't the threshold; between the two the outcome is inconclusive.
    decides: whether the verdict depends on this condition; otherwise it is only reported.
    """

    what: str
    measure: Measure
    over: str | None = None
    reduction: Reduction = "best"
    working_level: float | None = None
    choose_by: Objective = "val/accuracy"
    arms: tuple[str, ...] = ()
    comparison: Comparison
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
    """The runs of a claim: every combination of an arm, a value of each axis, and a seed.

    base: overrides of all runs. arms: overrides by arm. axes: overrides by axis and value.
    """

    base: tuple[str, ...]
    arms: Mapping[str, tuple[str, ...]]
    axes: Mapping[str, Mapping[Value, tuple[str, ...]]]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim at one scale.

    kind: exact claims are computed, experiments are trained. requires: conditions that must hold on average, or the comparison
    means nothing. combine: whether all deciding conditions must hold, or any of them.
    """

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
    def fingerprint(self) -> str:
        """Hash of everything in the file: a verdict with another fingerprint is stale."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:8]


def format_point(point: Point) -> str:
    """'activation=relu, lr=0.1'."""
    return ", ".join(f"{axis}={json.dumps(v) if isinstance(v, bool) or v is None else v}" for axis, v in point.items())


def is_number(value: object) -> TypeGuard[float]:
    """Whether an axis value is a number; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)
