"""Types of a claim: the statement, the sweep that tests it, and the rule that decides. One yaml file per claim.

The rule is data, fixed in the file before anything is trained.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
    """One condition of a rule, as in the claim's file.

    The measure of each run is reduced along the axis `over`, if given. The arms are compared, and the confidence interval of
    this effect over seeds is compared with `threshold`.

    working_level: with decades and largest, an axis value works if the measure is at least this.
    choose_by: with best and gain, the validation metric that picks the axis value, separately for each arm.
    contrast: an axis and two of its values; the effect at the first minus the effect at the second (ratios are divided).
    other: the second measure of a correlation.
    where: restricts the cells to these axis values.
    refuted_beyond: the threshold that refutes, if it is another one; between the two the outcome is inconclusive.
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

    kind: exact claims are computed, experiments are trained. requires: conditions that must hold on average for the
    comparison to mean anything. combine: whether all deciding conditions must hold, or any of them.
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
        """Hash of everything in the file but its sentences. A verdict with another fingerprint is stale."""
        rule, requires = (tuple(replace(c, what="") for c in conditions) for conditions in (self.rule, self.requires))
        bare = replace(self, statement="", source="", explanation="", cost="", rule=rule, requires=requires)
        return hashlib.sha256(repr(bare).encode()).hexdigest()[:8]


def format_point(point: Point) -> str:
    """'activation=relu, lr=0.1'."""
    return ", ".join(f"{axis}={json.dumps(v) if isinstance(v, bool) or v is None else v}" for axis, v in point.items())


def is_number(value: object) -> TypeGuard[float]:
    """Whether an axis value is a number; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)
