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
Group = Literal["speed", "stability", "regularization", "mechanism", "inference", "architecture"]
Comparison = Literal["difference", "ratio", "share", "value", "correlation", "each"]
Direction = Literal[">=", "<=", "within"]
Reduction = Literal["best", "decades", "largest", "min", "max", "mean", "gain", "slope"]
At = Literal["last", "first", "mean", "max", "min"]
Across = Literal["mean", "max", "min", "first", "last", "first/last"]

Value = float | int | str | bool | None
Point = Mapping[str, Value]
"""The value of each of some axes: {"activation": "relu", "lr": 0.1}."""


LOOKS = (5, 8, 12, 20)
"""Numbers of seeds at which a claim's cells are judged. Only cells that are still undecided get more seeds."""

LOOK_LEVEL = 0.017
"""One-sided error of each look. Over the four looks it adds up to .047 for a cell, and to at most .06 for 24 cells corrected by
Holm (Pocock 1977; scripts/claims_error_rates.py)."""

CHOOSING_SEEDS = 3
"""Number of seeds with which each arm's axis values (learning rates) are chosen; a quick run has one."""

SEPARATOR = "@"
"""Between a claim's name and its data, if that is not the file's: faster@fashion_mnist. Names of files don't have it."""

SINGLE_LEVEL = 0.05
"""One-sided error if there is only one look, as for quick runs."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number read from a run.

    tag: a scalar's tag, or a pattern with * that matches several layers. across: how several layers are reduced to one number;
    "first/last" is log10(first layer / last layer). at: which logged value to use: the last, the first, the last up to a step,
    or the mean, max or min of all. below: a tag and one or two levels. Only values logged after that tag first fell to the first
    level count, and only until it fell to the second. This compares networks at the same loss.
    reaches: instead of a value, the number of steps until the tag is first at least this level.
    """

    tag: str
    at: At | int = "last"
    across: Across = "mean"
    below: tuple[str, float, float | None] | None = None
    reaches: float | None = None


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One condition of a rule, as in the claim's file.

    The measure of each run is reduced along the axis `over`, if given. The arms are compared, and the mean of this effect over
    seeds is compared with two lines.

    says: a sentence with {effect}, for the headline.
    working_level: with decades and largest, an axis value works if the measure is at least this.
    best_of: an axis; the measure is its maximum over it, before the working level is applied.
    choose_by: with best and gain, the validation metric that picks the axis value, separately for each arm; None: the measure.
    multiple: with best, the first arm is read at this multiple of the second arm's best value.
    pool: axes whose values, together with the arms, are the points of a correlation.
    contrast: an axis and two of its values; the effect at the first minus the effect at the second (ratios are divided).
    other: the second measure of a correlation.
    where: restricts the cells to these axis values.
    confirm, refute: the lines. With "within", distances from `center`. A requirement has only the first.
    decides: whether the verdict depends on this condition; otherwise it is only reported.
    """

    what: str
    says: str = ""
    measure: Measure
    over: str | None = None
    reduction: Reduction = "best"
    working_level: float | None = None
    best_of: str | None = None
    choose_by: Objective | None = "val/accuracy"
    multiple: float | None = None
    arms: tuple[str, ...] = ()
    comparison: Comparison
    pool: tuple[str, ...] = ()
    contrast: tuple[str, Value, Value] | None = None
    other: Measure | None = None
    where: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    direction: Direction
    center: float = 0.0
    confirm: float
    refute: float
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

    kind: exact claims are computed, experiments are trained. seeds: in the order in which they are used. requires: conditions
    that must hold on average over the first look's seeds for the comparison to mean anything. combine: whether all deciding
    conditions must hold, or any of them. background: what a reader should know first. would_change: what would lead to another
    verdict. data: the data set, or the path, that replaces the file's; see other_data.py.
    """

    name: str
    kind: Literal["exact", "experiment"]
    group: Group = "mechanism"
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
    data: str = ""
    background: str = ""
    would_change: str = ""

    @property
    def measures(self) -> list[Measure]:
        """The measures that its conditions read from the runs."""
        conditions = *self.rule, *self.requires
        return [measure for c in conditions for measure in (c.measure, c.other) if measure]

    @property
    def looks(self) -> tuple[int, ...]:
        """Numbers of seeds at which this claim is judged; all at once if it is exact or has fewer than the first look needs."""
        looks = () if self.kind == "exact" else tuple(n for n in LOOKS if n <= len(self.seeds))
        return looks or (len(self.seeds),)

    @property
    def choosing_seeds(self) -> tuple[int, ...]:
        """The seeds that choose each arm's axis values: the integers after those that are judged, and never judged themselves.

        Seeds that choose for each other, each on the others, would be correlated, and the tests too sure.
        """
        return tuple(max(self.seeds) + i for i in range(1, 2 if self.quick else 1 + CHOOSING_SEEDS))

    @property
    def level(self) -> float:
        """One-sided error of each look."""
        return LOOK_LEVEL if len(self.looks) > 1 else SINGLE_LEVEL

    @property
    def rule_hash(self) -> str:
        """Hash of the runs and the rule, without seeds and sentences."""
        rule, requires = (
            tuple(replace(c, what="", says="") for c in conditions) for conditions in (self.rule, self.requires)
        )
        return _digest(self.sweep, rule, requires, self.combine)

    @property
    def fingerprint(self) -> str:
        """Hash of everything in the file but its sentences. A verdict with another fingerprint is stale."""
        return _digest(self.rule_hash, self.seeds, self.name, self.kind, self.scale, self.quick)


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def format_point(point: Point) -> str:
    """'activation=relu, lr=0.1'."""
    return ", ".join(f"{axis}={json.dumps(v) if isinstance(v, bool) or v is None else v}" for axis, v in point.items())


def is_number(value: object) -> TypeGuard[float]:
    """Whether an axis value is a number; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)
