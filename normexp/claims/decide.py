"""Decide on which side of two lines a mean effect lies: one-sided tests, and their correction for several cells.

Effects have the seeds on their last axis. More axes may come before it, which the simulation of error rates uses.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, stdtr, stdtrit

from normexp.claims.schema import Condition

Floats = NDArray[np.float64]

FUTILE = 400
"""A cell that probably needs more seeds than that, twenty times the most that a claim can have, gets no more of them.

It costs a cell half a percent of power one standard deviation beyond a line, and saves a quarter of the seeds at it
(tests/scripts/test_claims_error_rates.py).
"""

ROUNDING = 1e-9
"""Relative tolerance for rounding at a line: 0.3 / 0.1 is not quite 3."""


@dataclass(frozen=True)
class Evidence:
    """P-values of a cell: that the mean effect is beyond the confirming line, that it isn't, and the same for the refuting line.

    A small p-value is evidence for what the name says.
    """

    confirms: Floats
    falls_short: Floats
    not_refuted: Floats
    refutes: Floats


def p_above(low: Floats, line: float, signs: bool | np.bool | NDArray[np.bool] = False) -> Floats:
    """One-sided p-value against the hypothesis that the mean of `low` (..., seeds) is at most `line`; small: it is above.

    Student's t, or the sign test where `signs` is true or a value is -inf.
    """
    n = low.shape[-1]
    wins = (low > line).sum(-1)
    sign_p = np.where(wins > 0, bdtrc(wins - 1.0, n, 0.5), 1.0)  # P(at least so many of n coin flips)
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = low.mean(-1) - line
        std = low.std(-1, ddof=1) if n > 1 else np.full_like(difference, np.inf)
        equal = std <= 1e-12 * np.abs(low).max(-1)  # up to rounding
        t = np.where(equal, np.where(difference > 0, np.inf, -np.inf), difference / (std / math.sqrt(n)))
        t_p = stdtr(n - 1, -t) if n > 1 else np.ones_like(difference)
    return np.where(signs | np.isinf(low).any(-1), sign_p, t_p)


def lower_bound(low: Floats, level: float, *, signs: bool = False) -> float:
    """The largest line of which p_above is below `level`. low: (seeds,)."""
    n = len(low)
    if signs or np.isinf(low).any():
        rank = int((bdtrc(np.arange(n), n, 0.5) < level).sum())
        return float(np.sort(low)[rank - 1]) if rank else -math.inf
    if n < 2:
        return -math.inf
    std = float(low.std(ddof=1))
    return float(low.mean()) + (stdtrit(n - 1, level) * std / math.sqrt(n) if std > 1e-12 * np.abs(low).max() else 0.0)


def confirming_range(condition: Condition) -> tuple[float, float]:
    """Effects that satisfy the condition, including rounding; log ratios for ratios."""
    return _range(condition, condition.confirm)


def unrefuted_range(condition: Condition) -> tuple[float, float]:
    """Effects that don't refute the condition."""
    return _range(condition, condition.refute)


def _range(condition: Condition, line: float) -> tuple[float, float]:
    slack = ROUNDING * max(abs(line), abs(condition.center))
    match condition.direction:
        case ">=":
            ends = line - slack, math.inf
        case "<=":
            ends = -math.inf, line + slack
        case "within":
            ends = condition.center - line - slack, condition.center + line + slack
    if condition.comparison == "ratio":
        return tuple(math.log(end) if end > 0 else -math.inf for end in ends)  # type: ignore[return-value]
    return ends


def weigh(condition: Condition, low: Floats, high: Floats) -> Evidence:
    """The evidence in effects that lie between `low` and `high` (..., seeds), which are equal unless they are censored."""
    above_only, below_only = np.isposinf(high).all(-1), np.isneginf(low).all(-1)

    def above(line: float) -> Floats:
        return p_above(low, line, above_only)

    def below(line: float) -> Floats:
        return p_above(-high, -line, below_only)

    def inside(ends: tuple[float, float]) -> Floats:  # two one-sided tests, if both ends are finite
        ps = [test(end) for test, end in zip((above, below), ends, strict=True) if math.isfinite(end)]
        return np.asarray(np.maximum.reduce(ps))

    def outside(ends: tuple[float, float]) -> Floats:
        ps = [test(end) for test, end in zip((below, above), ends, strict=True) if math.isfinite(end)]
        return np.asarray(np.minimum(np.minimum.reduce(ps) * len(ps), 1.0))

    confirms, unrefuted = confirming_range(condition), unrefuted_range(condition)
    return Evidence(inside(confirms), outside(confirms), inside(unrefuted), outside(unrefuted))


def holm(p: Floats) -> Floats:
    """P-values corrected for their number on the last axis (Holm 1979)."""
    k = p.shape[-1]
    order = np.argsort(p, -1)
    steps = np.take_along_axis(p, order, -1) * np.arange(k, 0, -1)
    corrected = np.empty_like(p)
    np.put_along_axis(corrected, order, np.minimum(np.maximum.accumulate(steps, -1), 1.0), -1)
    return corrected


def classify(evidence: Evidence, combine: Literal["all", "any"], level: float) -> tuple[NDArray[np.bool], ...]:
    """Classify cells: three masks (..., cells), of those that are confirmed, refuted, and smaller than claimed.

    If all cells must hold, confirming needs no correction for their number (an intersection-union test; Berger 1982), since a
    false claim has a cell that would have to be confirmed wrongly. Not confirming does. If any must hold, it is the other way.
    """
    corrected = holm if combine == "any" else lambda p: p
    confirms, not_refuted = corrected(evidence.confirms), corrected(evidence.not_refuted)
    corrected = holm if combine == "all" else lambda p: p
    falls_short, refutes = corrected(evidence.falls_short), corrected(evidence.refutes)
    return confirms < level, refutes < level, (falls_short < level) & (not_refuted < level)


def seeds_needed(low: Floats, high: Floats, lines: tuple[float, ...], level: float) -> float:
    """Number of seeds that would decide with a probability of .8, if the effects' mean and spread are as they are now.

    lines: the ends of both ranges; the one that is nearest in standard errors must be cleared. Infinite if nothing would.
    """
    if not np.isfinite([low, high]).all() or len(low) < 2:
        return math.inf
    n = len(low) + 1
    while n < 10_000 and not would_decide(low, high, lines, level, n):
        n += 1 + n // 20
    return n if n < 10_000 else math.inf


def would_decide(low: Floats, high: Floats, lines: tuple[float, ...], level: float, n: int) -> NDArray[np.bool]:
    """Whether n seeds would decide with a probability of .8, if the effects' mean and spread are as they are now.

    low, high: (..., seeds), finite.
    """
    middle = (low + high) / 2
    std, half = middle.std(-1, ddof=1), (high - low).mean(-1) / 2
    mean = middle.mean(-1)
    distance = np.minimum.reduce([np.abs(mean - line) for line in lines if math.isfinite(line)]) - half
    t = stdtrit(n - 1, 1 - level) + stdtrit(n - 1, 0.8)
    return np.asarray((distance > 0) & (distance * math.sqrt(n) >= std * t))


def win_probability(low: Floats, high: Floats) -> float:
    """Probability that the effect is above 0 with a new seed, from Student's t; at most that of Laplace's rule of succession."""
    n = len(low)
    with np.errstate(invalid="ignore"):
        middle = np.where(np.isfinite(high), (low + high) / 2, low)
    if n < 2 or not np.isfinite(middle).all():
        wins = int((low > 0).sum())
        return (wins + 1) / (n + 2)
    std, mean = float(middle.std(ddof=1)), float(middle.mean())
    p = float(stdtr(n - 1, mean / (std * math.sqrt(1 + 1 / n)))) if std > 0 else float(np.sign(mean) / 2 + 0.5)
    return min(max(p, 1 / (n + 2)), (n + 1) / (n + 2))
