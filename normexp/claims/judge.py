"""Decide a claim by its rule. Defines the four outcomes.

A cell is one comparison: a condition at one value of each remaining axis. Its effect has a confidence interval over seeds.

confirmed: the whole interval satisfies the rule. refuted: the whole interval violates it. inconclusive: the interval crosses the
threshold. not comparable: a requirement of the claim does not hold on average, or the effect is not defined for some seed, for
example because an arm never learned.

A claim that combines `all` conditions is refuted by a single refuted cell. It is confirmed if all comparable cells are, and each
condition has one. With `any` it is the other way round. The level of the intervals is corrected for their number.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from normexp.claims.effects import Effects, Measured, effects
from normexp.claims.schema import Claim, Condition, Point, Value, is_number
from normexp.claims.verdict import Cell, ConditionVerdict, Outcome
from normexp.claims.wording import edge_note, undefined_note, unmet_note
from normexp.rundir import finite
from normexp.stats import bonferroni_level, t_interval

RELATIVE_TOLERANCE = 1e-9
"""Tolerance for rounding at a threshold: 0.3 / 0.1 is not quite 3."""


@dataclass(frozen=True)
class Judgement:
    """Outcome of a claim, and its conditions in the order of the rule."""

    outcome: Outcome
    conditions: list[ConditionVerdict]


def judge(claim: Claim, measured: Measured) -> Judgement:
    """Decide a claim by its rule."""
    deciding = sum(len(list(cells(c, claim))) for c in claim.rule if c.decides)
    unmet = [(point, required.what) for required in claim.requires for point in _unmet(required, claim, measured)]
    conditions = []
    for condition in claim.rule:
        level = bonferroni_level(deciding if condition.decides else 1)
        judged = []
        for point in cells(condition, claim):
            reason = next((what for where, what in unmet if _concerns(where, condition, point)), None)
            effect = effects(condition, claim, point, measured)
            cell = _judge_cell(condition, point, effect, level, reason)
            judged.append(cell if cell.note else replace(cell, note=_edge_note(condition, claim, effect)))
        conditions.append(ConditionVerdict.of(condition, judged))
    outcomes = [[cell.outcome for cell in condition.cells] for condition in conditions if condition.decides]
    return Judgement(combine_outcomes(claim.combine, outcomes), conditions)


def combine_outcomes(combine: Literal["all", "any"], outcomes: Sequence[Sequence[Outcome]]) -> Outcome:
    """The outcome of a claim from those of each deciding condition's cells."""
    decisive: tuple[Outcome, Outcome] = ("refuted", "confirmed") if combine == "all" else ("confirmed", "refuted")
    for outcome in (decisive[0], "inconclusive"):
        if any(outcome in cells for cells in outcomes):
            return outcome
    if any(all(outcome == "not comparable" for outcome in cells) for cells in outcomes):
        return "not comparable"
    return decisive[1]


def cells(condition: Condition, claim: Claim) -> Iterator[Point]:
    """Every combination of values of the axes that are neither reduced nor contrasted, in the order of the file."""
    axes = claim.sweep.axes if claim.sweep else {}
    used = {condition.over, *(condition.contrast or ())[:1]}
    remaining = {a: condition.where.get(a, tuple(values)) for a, values in axes.items() if a not in used}
    return (dict(zip(remaining, values, strict=True)) for values in itertools.product(*remaining.values()))


def compare_to_threshold(condition: Condition, low: float, high: float) -> Outcome:
    """Which side of the threshold an interval lies on. An end that equals the threshold up to rounding counts as confirming."""
    bottom, top = _bounds(condition, condition.threshold)
    if bottom <= low and high <= top:
        return "confirmed"
    if condition.refuted_beyond is not None:
        bottom, top = _bounds(condition, condition.refuted_beyond)
    return "refuted" if high < bottom or low > top else "inconclusive"


def _bounds(condition: Condition, line: float) -> tuple[float, float]:
    """The range that satisfies the condition with this threshold, including rounding."""
    margin = condition.margin or 0.0
    slack = margin + RELATIVE_TOLERANCE * max(abs(line), margin)
    bottom = -math.inf if condition.direction == "<=" else line - slack
    top = math.inf if condition.direction == ">=" else line + slack
    return bottom, top


def _concerns(unmet: Point, condition: Condition, cell: Point) -> bool:
    """Whether a requirement that is unmet at one point is unmet in a cell, or in one of the two that it contrasts."""
    values: dict[str, tuple[Value, ...]] = {axis: (value,) for axis, value in cell.items()}
    if condition.contrast is not None:
        values[condition.contrast[0]] = condition.contrast[1:]
    return all(value in values.get(axis, (value,)) for axis, value in unmet.items())


def _unmet(required: Condition, claim: Claim, measured: Measured) -> Iterator[Point]:
    """The cells in which a requirement does not hold on average."""
    for cell in cells(required, claim):
        mean = _in_unit(required, float(effects(required, claim, cell, measured).by_seed.mean()))
        if math.isnan(mean) or compare_to_threshold(required, mean, mean) != "confirmed":
            yield cell


def _judge_cell(condition: Condition, point: Point, effect: Effects, level: float, unmet: str | None) -> Cell:
    """unmet: the requirement of the claim that does not hold here, if any."""
    by_seed, mean = effect.by_seed, float(effect.by_seed.mean())
    cell = Cell(
        point=point,
        outcome="not comparable",
        effect=finite(_in_unit(condition, mean)),
        level=level,
        n=len(by_seed),
        values={arm: [finite(float(v)) for v in values] for arm, values in effect.values.items()},
        chosen=effect.chosen,
    )
    if unmet:
        return replace(cell, note=unmet_note(unmet))
    if math.isnan(mean):
        missing = {arm: int((~np.isfinite(values)).sum()) for arm, values in effect.values.items()}
        return replace(cell, note=undefined_note(missing, len(by_seed)))
    if condition.comparison == "each":
        low, high = float(by_seed.min()), float(by_seed.max())
        outcomes = {compare_to_threshold(condition, float(value), float(value)) for value in by_seed}
        outcome = outcomes.pop() if len(outcomes) == 1 else "inconclusive"
        worst = low if condition.direction == ">=" else high
        return replace(cell, outcome=outcome, effect=finite(worst), low=finite(low), high=finite(high), level=1.0)
    estimate = t_interval(by_seed, level)
    mean, low, high = (_in_unit(condition, number) for number in (estimate.mean, estimate.low, estimate.high))
    outcome, size = compare_to_threshold(condition, low, high), estimate.effect_size
    return replace(cell, outcome=outcome, effect=finite(mean), low=finite(low), high=finite(high), effect_size=size)


def _edge_note(condition: Condition, claim: Claim, effect: Effects) -> str | None:
    """A note if the best value is the first or last one tried, since a better one may lie beyond it."""
    if condition.over is None or condition.reduction != "best" or claim.sweep is None:
        return None
    tried = [value for value in claim.sweep.axes[condition.over] if is_number(value)]
    ends = {min(tried): "smallest", max(tried): "largest"} if len(tried) > 1 else {}
    at_end = {arm: ends[value] for arm, of in effect.chosen.items() if (value := of[condition.over]) in ends}
    return edge_note(condition.over, at_end) if at_end else None


def _in_unit(condition: Condition, effect: float) -> float:
    """An effect in its unit. Ratios are averaged as logarithms."""
    if condition.comparison != "ratio":
        return effect
    return math.exp(effect) if effect < 700 else math.inf
