"""Requirements of a claim, without which its arms are not compared, with the measured values."""

import numpy as np

from normexp.claims.decide import confirming_range
from normexp.claims.effects import Effects, Measured, Reader, effects
from normexp.claims.judge import MAX_MISSING, cells
from normexp.claims.schema import Claim, Condition, Point
from normexp.claims.verdict import Cell, ConditionVerdict
from normexp.rundir import finite


def requirements(claim: Claim, measured: Measured) -> list[ConditionVerdict]:
    """The claim's requirements; the effect of a cell is its mean over the first look's seeds, which decides whether it is met."""
    reader, seeds = Reader(claim, measured), claim.seeds[: claim.looks[0]]
    return [
        ConditionVerdict.of(
            c, [_cell(c, point, effects(c, point, seeds, reader, between_values=False)) for point in cells(c, claim)]
        )
        for c in claim.requires
    ]


def _cell(required: Condition, point: Point, effect: Effects) -> Cell:
    known = ~(np.isnan(effect.low) | np.isnan(effect.high))
    low, high = (float(end[known].mean()) if known.any() else np.nan for end in (effect.low, effect.high))
    first, last = confirming_range(required)
    met = (~known).mean() <= MAX_MISSING and first <= low <= high <= last
    middle = (low + high) / 2 if np.isfinite([low, high]).all() else low if np.isfinite(low) else high
    return Cell(
        point=point,
        outcome="confirmed" if met else "not comparable",
        effect=finite(float(np.exp(middle)) if required.comparison == "ratio" else middle),
        bound=">" if np.isposinf(high) else "<" if np.isneginf(low) else "",
        level=None,
        n=int(known.sum()),
        values={},
        chosen={},
    )
