"""Decide a claim by its rule, with more seeds for what is still undecided. Defines the outcomes.

A cell is one comparison: a condition at one value of each remaining axis.

confirmed: the mean effect is surely beyond the confirming line. refuted: surely beyond the refuting line. smaller than claimed:
surely between the two. undecided: the seeds can't tell; from the second look on, a cell that decide.FUTILE seeds would hardly
decide gets no more of them. not comparable: a requirement of the claim does not hold, or the effect is not defined for too many
seeds, for example because an arm never learned.

A claim of which `all` cells must hold is confirmed if all comparable ones are, and confirmed in part if some are and others
surely aren't. One of which `any` must hold is confirmed by a single cell.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from normexp.claims.decide import (
    FUTILE,
    Evidence,
    classify,
    confirming_range,
    holm,
    lower_bound,
    seeds_needed,
    unrefuted_range,
    weigh,
    win_probability,
    would_decide,
)
from normexp.claims.effects import Bounds, Effects, Measured, Reader, RunKey, effects
from normexp.claims.schema import Claim, Condition, Measure, Point, Value
from normexp.claims.verdict import Cell, ConditionVerdict, Look, Outcome
from normexp.claims.wording import end_note, no_share_note, stopped_note, undefined_note, unmet_note
from normexp.rundir import finite

MAX_MISSING = 0.25
"""Largest fraction of seeds without an effect with which a cell is still comparable."""


@dataclass(frozen=True)
class Judgement:
    """Outcome of a claim, and its conditions in the order of the rule.

    wanted: the runs that must be trained before the claim can be judged, or judged further; the rest is provisional until then.
    seeds: the number of seeds that they are for.
    """

    outcome: Outcome
    conditions: list[ConditionVerdict]
    wanted: list[RunKey]
    seeds: int


@dataclass
class CellState:
    """A cell while its claim is judged."""

    condition: Condition
    point: Point
    outcome: Outcome = "undecided"
    n: int = 0
    effect: Effects | None = None
    evidence: Evidence | None = None
    stopped: bool = False
    looks: list[Look] = field(default_factory=list)
    note: str | None = None


def judge(claim: Claim, measured: Measured, *, max_seeds: int | None = None) -> Judgement:
    """Decide a claim by its rule, as far as runs are there."""
    reader = Reader(claim, measured)
    unmet = [(point, required) for required in claim.requires for point in _unmet(required, reader)]
    states = [CellState(condition, point) for condition in claim.rule for point in cells(condition, claim)]
    looks = [n for n in claim.looks if n == claim.looks[0] or max_seeds is None or n <= max_seeds]
    reached = looks[0]
    for n in looks:
        undecided = [state for state in states if state.outcome == "undecided" and not state.stopped]
        if claim.combine == "any" and any(s.condition.decides and s.outcome == "confirmed" for s in states):
            break
        if n > reached and (reader.missing or not any(state.condition.decides for state in undecided)):
            break
        reached, seeds, missing = n, claim.seeds[:n], dict[RunKey, None]()
        for state in undecided:
            own = Reader(claim, measured)
            effect = effects(state.condition, state.point, seeds, own)
            if state.condition.decides or n == claim.looks[0]:
                missing |= own.missing  # more seeds are only for what decides
            if not own.missing:
                reason = next((r.what for where, r in unmet if _concerns(where, state.condition, state.point)), None)
                _examine(state, effect, n, claim.level, reason)
        reader.missing |= missing
        if not reader.missing:
            _decide(states, claim)
            if looks[0] < n < claim.looks[-1]:
                _stop_hopeless(states, claim)
    judged = {id(condition): [s for s in states if s.condition is condition] for condition in claim.rule}
    weighed = sum(state.condition.decides and state.evidence is not None for state in states)
    conditions = [ConditionVerdict.of(c, [_cell(s, claim, weighed) for s in judged[id(c)]]) for c in claim.rule]
    deciding = [states for condition, states in zip(claim.rule, judged.values(), strict=True) if condition.decides]
    return Judgement(_combine(claim, deciding), conditions, list(reader.missing), reached)


def first_look(claim: Claim) -> list[RunKey]:
    """The runs of the first look, if no value is better than another: those that choose, and those that are judged.

    It needs more if a best value is at an end, or if conditions choose different values.
    """
    trained = dict[RunKey, None]()

    def measured(measure: Measure, arm: str, point: Point, seed: int) -> Bounds | None:
        axes = claim.sweep.axes if claim.sweep else ()
        return (1.0, 1.0) if (arm, tuple((axis, point[axis]) for axis in axes), seed) in trained else None

    while wanted := judge(claim, measured, max_seeds=claim.looks[0]).wanted:
        trained |= dict.fromkeys(wanted)
    return list(trained)


def cells(condition: Condition, claim: Claim) -> Iterator[Point]:
    """Every combination of values of the axes that are neither reduced nor contrasted, in the order of the file."""
    axes = claim.sweep.axes if claim.sweep else {}
    used = {condition.over, condition.best_of, *condition.pool, *(condition.contrast or ())[:1]}
    remaining = {a: condition.where.get(a, tuple(values)) for a, values in axes.items() if a not in used}
    return (dict(zip(remaining, values, strict=True)) for values in itertools.product(*remaining.values()))


def _unmet(required: Condition, reader: Reader) -> Iterator[Point]:
    """The cells in which a requirement does not hold on average over the first look's seeds."""
    low, high = confirming_range(required)
    for cell in cells(required, reader.claim):
        effect = effects(required, cell, reader.claim.seeds[: reader.claim.looks[0]], reader, between_values=False)
        known = _known(effect)
        if not reader.missing and (
            (~known).mean() > MAX_MISSING
            or not low <= float(effect.low[known].mean()) <= float(effect.high[known].mean()) <= high
        ):
            yield cell


def _known(effect: Effects) -> NDArray[np.bool]:
    """The seeds for which an effect is defined."""
    return ~(np.isnan(effect.low) | np.isnan(effect.high))


def _concerns(unmet: Point, condition: Condition, cell: Point) -> bool:
    """Whether a requirement that is unmet at one point is unmet in a cell, or in one of the two that it contrasts."""
    values: dict[str, tuple[Value, ...]] = {axis: (value,) for axis, value in cell.items()}
    if condition.contrast is not None:
        values[condition.contrast[0]] = condition.contrast[1:]
    return all(value in values.get(axis, (value,)) for axis, value in unmet.items())


def _examine(state: CellState, effect: Effects, n: int, level: float, unmet: str | None) -> None:
    """Weigh a cell's effects over the first n seeds. unmet: the requirement of the claim that does not hold here, if any."""
    known = _known(effect)
    state.n, state.effect, low, high = int(known.sum()), effect, effect.low[known], effect.high[known]
    state.evidence = None
    if not known.all():
        missing = {arm: np.isnan(values).any(axis=0) for arm, values in effect.values.items()}
        enough = np.logical_or.reduce(list(missing.values())).mean() <= MAX_MISSING
        no_share = state.condition.comparison == "share" and enough and not known.any()
        counts = {arm: int(of.sum()) for arm, of in missing.items()}
        state.note = no_share_note(state.condition.arms) if no_share else undefined_note(counts, n)
    if unmet or (~known).mean() > MAX_MISSING:
        state.outcome, state.note = "not comparable", unmet_note(unmet) if unmet else state.note
        state.looks = []  # an effect of fewer seeds is none of all
        return
    if state.condition.comparison == "each":
        state.looks = [Look(n=n, effect=None, low=finite(float(low.min())), high=finite(float(high.max())))]
        state.outcome = _side_of_all(state.condition, low)
        return
    state.evidence = weigh(state.condition, low, high)
    bottom = lower_bound(low, level, signs=bool(np.isposinf(high).all()))
    top = -lower_bound(-high, level, signs=bool(np.isneginf(low).all()))
    mean, *ends = (finite(_in_unit(state.condition, x)) for x in (_center(low, high), bottom, top))
    state.looks.append(Look(n=n, effect=mean, low=ends[0], high=ends[1]))


def _center(low: np.ndarray, high: np.ndarray) -> float:
    """The mean effect, or its bound if it is censored; NaN if on both sides."""
    with np.errstate(invalid="ignore"):
        ends = float(low.mean()), float(high.mean())
    return (
        sum(ends) / 2 if all(map(math.isfinite, ends)) else next((end for end in ends if math.isfinite(end)), math.nan)
    )


def _side_of_all(condition: Condition, effect: np.ndarray) -> Outcome:
    """The outcome if it is the same for each seed."""
    (low, high), (outer_low, outer_high) = confirming_range(condition), unrefuted_range(condition)
    if ((low <= effect) & (effect <= high)).all():
        return "confirmed"
    return "refuted" if ((effect < outer_low) | (effect > outer_high)).all() else "undecided"


def _decide(states: Sequence[CellState], claim: Claim) -> None:
    """Set the outcome of the cells that this look decides. Those decided before keep theirs, and count in the correction."""
    reported = [[s] for s in states if not s.condition.decides]
    for family in ([s for s in states if s.condition.decides], *reported):
        weighed = [state for state in family if state.evidence is not None]
        if not weighed:
            continue
        for state, *flags in zip(weighed, *classify(_stack(weighed), claim.combine, claim.level), strict=True):
            if state.outcome == "undecided":
                names: tuple[Outcome, ...] = ("confirmed", "refuted", "smaller than claimed")
                state.outcome = next(itertools.compress(names, flags), "undecided")


def _stop_hopeless(states: Sequence[CellState], claim: Claim) -> None:
    """Give no more seeds to undecided cells that would need far too many. No error rate rises by that."""
    for state in states:
        if not state.condition.decides or state.outcome != "undecided" or state.evidence is None or state.stopped:
            continue
        assert state.effect is not None
        known, lines = _known(state.effect), _lines(state.condition)
        low, high = state.effect.low[known], state.effect.high[known]
        if np.isfinite([low, high]).all() and not would_decide(low, high, lines, claim.level, FUTILE):
            state.stopped = True


def _lines(condition: Condition) -> tuple[float, ...]:
    """The ends of both ranges."""
    return (*confirming_range(condition), *unrefuted_range(condition))


def _stack(states: Sequence[CellState]) -> Evidence:
    """The evidence of several cells as one, with an axis for the cells."""
    parts = zip(*(vars(state.evidence).values() for state in states), strict=True)
    return Evidence(*(np.array(part, dtype=np.float64) for part in parts))


def _combine(claim: Claim, conditions: Sequence[Sequence[CellState]]) -> Outcome:
    """The outcome of a claim from the cells of its deciding conditions."""
    states = [state for of in conditions for state in of]
    outcomes = {state.outcome for state in states}
    empty = any(all(state.outcome == "not comparable" for state in of) for of in conditions)
    if claim.combine == "any":
        if "confirmed" in outcomes:
            return "confirmed"
        order: tuple[Outcome, ...] = ("undecided", "smaller than claimed", "refuted")
        return "not comparable" if empty else next(outcome for outcome in order if outcome in outcomes)
    fails = outcomes & {"refuted", "smaller than claimed"}
    if fails and _any_surely_holds(states, claim.level):
        return "confirmed in part"
    if "refuted" in outcomes or "undecided" in outcomes:
        return "refuted" if "refuted" in outcomes else "undecided"
    if fails:
        return "smaller than claimed"
    return "not comparable" if empty else "confirmed"


def _any_surely_holds(states: Sequence[CellState], level: float) -> bool:
    """Whether a cell is confirmed even with a correction for the number of cells: a part is picked after the fact."""
    weighed = [state for state in states if state.evidence is not None]
    surely = bool(weighed) and bool((holm(_stack(weighed).confirms) < level).any())
    return surely or any(s.outcome == "confirmed" and s.condition.comparison == "each" for s in states)


def _cell(state: CellState, claim: Claim, family: int) -> Cell:
    """A judged cell as it is stored. family: the number of deciding cells, of which its p-values are corrected."""
    effect, last = state.effect, state.looks[-1] if state.looks else Look(n=0, effect=None)
    condition = state.condition
    if effect is None:  # its runs are still to be trained
        return Cell(point=state.point, outcome=state.outcome, effect=None, level=claim.level, n=0, values={}, chosen={})
    exact = condition.comparison == "each"
    worst = last.low if condition.direction == ">=" else last.high
    if condition.direction == "within":
        worst = max(last.low, last.high, key=lambda end: abs((end or 0.0) - condition.center))
    known = _known(effect)
    low, high = effect.low[known], effect.high[known]
    bound = (">" if np.isinf(high).any() else "") if np.isfinite(low).all() else "<" if np.isfinite(high).all() else "?"
    open_ = state.outcome == "undecided" and not exact
    stopped = stopped_note(last.n) if state.stopped else ""
    end = end_note(condition.over, effect.at_end) if effect.at_end and condition.over else ""
    compared = condition.comparison in ("difference", "ratio") and bound != "?" and state.outcome != "not comparable"
    return Cell(
        point=state.point,
        outcome=state.outcome,
        effect=worst if exact else last.effect,
        bound=bound,
        low=last.low,
        high=last.high,
        level=1.0 if exact else 1 - 2 * claim.level,
        n=state.n,
        looks=[] if exact else state.looks,
        seeds_needed=finite(_seeds_needed(condition, low, high, claim, family)) if open_ else None,
        win=win_probability(low, high) if compared else None,
        values={
            arm: [finite(_known_end(*pair)) for pair in values.T.tolist()] for arm, values in effect.values.items()
        },
        censored={
            arm: ["".join((">" * math.isinf(high), "<" * (low <= 0 and high > 0))) for low, high in values.T.tolist()]
            for arm, values in effect.values.items()
            if not np.array_equal(values[0], values[1], equal_nan=True)
        },
        chosen=effect.chosen,
        at_end=effect.at_end,
        note="; ".join(filter(None, (state.note, stopped, end))) or None,
    )


def _seeds_needed(condition: Condition, low: np.ndarray, high: np.ndarray, claim: Claim, family: int) -> float:
    """The seeds that would decide an undecided cell on the side of the line where its mean is, with the correction for that."""
    start, end = confirming_range(condition)
    inside = start <= _center(low, high) <= end
    level = claim.level
    if condition.decides and inside == (claim.combine == "any"):
        level /= family
    if condition.direction == "within" and not inside:
        level /= 2
    return seeds_needed(low, high, _lines(condition), level)


def _known_end(low: float, high: float) -> float:
    """The number between two bounds that is shown: the upper one, such as the evaluation that reached 90 %, if it is known."""
    return low if math.isinf(high) else high


def _in_unit(condition: Condition, effect: float) -> float:
    """An effect in its unit. Ratios are averaged as logarithms."""
    if condition.comparison != "ratio":
        return effect
    return math.exp(effect) if effect < 700 else math.inf
