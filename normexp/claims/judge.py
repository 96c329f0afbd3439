"""From measured values to a verdict. The four verdicts are defined here, and nowhere else.

A cell is one comparison: a condition at one value of each axis that is left. Its effect has a confidence interval over seeds.

confirmed: the whole interval lies where the condition asks for it. refuted: all of it lies elsewhere. inconclusive: it crosses
the line. not comparable: something that the claim requires does not hold on average, or the effect is not defined for a seed,
because an arm never learned, say.

A claim of which all conditions must hold is refuted by a single refuted cell, and confirmed if all comparable cells are and each
condition has one. One of which any suffices, the other way round. The level of the intervals is corrected for their number.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from normexp.claims.effects import Effects, Measured, effects
from normexp.claims.intervals import corrected, interval
from normexp.claims.schema import Claim, Condition, Point, Value

Verdict = Literal["confirmed", "refuted", "inconclusive", "not comparable"]

ROUNDING = 1e-9


@dataclass(frozen=True)
class Cell:
    """effect, low, high: in the unit of the measure, or a factor for ratios; None where not defined. values: of each arm, one a
    seed. chosen: of each arm, what was chosen on validation data."""

    cell: Point
    verdict: Verdict
    effect: float | None
    low: float | None
    high: float | None
    level: float
    effect_size: float | None
    values: Mapping[str, Sequence[float]]
    chosen: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    note: str | None = None


@dataclass(frozen=True)
class Judged:
    condition: Condition
    cells: list[Cell]


@dataclass(frozen=True)
class Judgement:
    verdict: Verdict
    judged: list[Judged]


def judge(claim: Claim, measured: Measured) -> Judgement:
    """Decide a claim by its rule."""
    deciding = sum(len(list(cells(c, claim))) for c in claim.rule if c.decides)
    failed = [(cell, c.what) for c in claim.requires for cell in _unmet(c, claim, measured)]
    judged = []
    for condition in claim.rule:
        level = corrected(deciding) if condition.decides else corrected(1)
        found = []
        for cell in cells(condition, claim):
            lacking = next((what for unmet, what in failed if _concerns(unmet, condition, cell)), None)
            made = effects(condition, claim, cell, measured)
            one = _cell(condition, cell, made, level, lacking)
            found.append(one if one.note else replace(one, note=_edges(condition, claim, made)))
        judged.append(Judged(condition, found))
    return Judgement(
        combine(claim.combine, [[c.verdict for c in j.cells] for j in judged if j.condition.decides]), judged
    )


def combine(how: Literal["all", "any"], verdicts: Sequence[Sequence[Verdict]]) -> Verdict:
    """The verdict of a claim from those of its conditions' cells."""
    decisive: tuple[Verdict, Verdict] = ("refuted", "confirmed") if how == "all" else ("confirmed", "refuted")
    every = [verdict for cells in verdicts for verdict in cells]
    if decisive[0] in every:
        return decisive[0]
    if "inconclusive" in every:
        return "inconclusive"
    if any(all(verdict == "not comparable" for verdict in cells) for cells in verdicts):
        return "not comparable"
    return decisive[1]


def cells(condition: Condition, claim: Claim) -> Iterator[Point]:
    """The values of the axes that a condition neither takes something over nor contrasts, in the order of the file."""
    axes = claim.sweep.axes if claim.sweep else {}
    gone = {condition.over, condition.contrast[0] if condition.contrast else None}
    left = {a: condition.where.get(a, tuple(values)) for a, values in axes.items() if a not in gone}
    for values in itertools.product(*left.values()):
        yield tuple(zip(left, values, strict=True))


def holds(condition: Condition, low: float, high: float) -> Verdict:
    """Where an interval lies: on the side of the threshold that the condition asks for, on the other, or on both. An end that is
    the threshold but for rounding, as 0.3 / 0.1 is not quite 3, is on the side that is asked for."""
    bottom, top = -math.inf, math.inf
    match condition.direction:
        case ">=":
            bottom = condition.threshold - ROUNDING * abs(condition.threshold)
        case "<=":
            top = condition.threshold + ROUNDING * abs(condition.threshold)
        case "within":
            assert condition.margin is not None
            margin = condition.margin + ROUNDING * max(abs(condition.threshold), condition.margin)
            bottom, top = condition.threshold - margin, condition.threshold + margin
    inside = bottom <= low and high <= top
    if condition.refuted_beyond is not None:
        slack = ROUNDING * abs(condition.refuted_beyond)
        bottom = condition.refuted_beyond - slack if math.isfinite(bottom) else bottom
        top = condition.refuted_beyond + slack if math.isfinite(top) else top
    outside = high < bottom or low > top
    return "confirmed" if inside else "refuted" if outside else "inconclusive"


def _concerns(unmet: Point, condition: Condition, cell: Point) -> bool:
    """Whether what is not met somewhere is not met in a cell, or in one of the two that it contrasts."""
    values: dict[str, tuple[Value, ...]] = {axis: (value,) for axis, value in cell}
    if condition.contrast is not None:
        values[condition.contrast[0]] = condition.contrast[1:]
    return all(value in values.get(axis, (value,)) for axis, value in unmet)


def _unmet(condition: Condition, claim: Claim, measured: Measured) -> Iterator[Point]:
    """The cells in which a requirement does not hold on average."""
    for cell in cells(condition, claim):
        mean = _plain(condition, float(effects(condition, claim, cell, measured).by_seed.mean()))
        if math.isnan(mean) or holds(condition, mean, mean) != "confirmed":
            yield cell


def _cell(condition: Condition, cell: Point, made: Effects, level: float, lacking: str | None) -> Cell:
    """lacking: what the claim requires and is not so in this cell."""
    values = {arm: [float(v) for v in of] for arm, of in made.values.items()}
    mean = float(made.by_seed.mean())
    if math.isnan(mean) or lacking:
        note = f"it is required that {lacking}" if lacking else _undefined(made)
        shown = None if math.isnan(mean) else _plain(condition, mean)
        return Cell(cell, "not comparable", shown, None, None, level, None, values, made.chosen, note)
    if condition.how == "each":
        low, high = float(made.by_seed.min()), float(made.by_seed.max())
        verdicts = {holds(condition, float(value), float(value)) for value in made.by_seed}
        verdict = verdicts.pop() if len(verdicts) == 1 else "inconclusive"
        return Cell(cell, verdict, low if condition.direction == ">=" else high, low, high, 1.0, None, values)
    found = interval(made.by_seed, level)
    mean, low, high = (_plain(condition, number) for number in (found.mean, found.low, found.high))
    return Cell(cell, holds(condition, low, high), mean, low, high, level, found.effect_size, values, made.chosen)


def _edges(condition: Condition, claim: Claim, made: Effects) -> str | None:
    """Where the best value is the last one that was tried, a better one may lie beyond it."""
    if condition.over is None or condition.take != "best" or claim.sweep is None:
        return None
    tried = [v for v in claim.sweep.axes[condition.over] if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(tried) < 2:
        return None
    ends = {min(tried): "least", max(tried): "largest"}
    at_end = {arm: ends[v] for arm, of in made.chosen.items() if (v := of[condition.over]) in ends}
    parts = [f"{arm} at the {end}" for arm, end in at_end.items()]
    return f"best {condition.over} tried: {', '.join(parts)}" if parts else None


def _undefined(made: Effects) -> str:
    lacking = {arm: int((~np.isfinite(of)).sum()) for arm, of in made.values.items()}
    parts = [f"{arm} in {n} of {len(made.by_seed)} seeds" for arm, n in lacking.items() if n]
    return f"not defined for {', '.join(parts) or 'some seeds'}"


def _plain(condition: Condition, number: float) -> float:
    """An effect in its own unit: of ratios, the logarithm was averaged."""
    if condition.how != "ratio":
        return number
    return math.exp(number) if number < 700 else math.inf
