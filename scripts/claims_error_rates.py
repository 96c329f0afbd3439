"""How often the rules of `normexp claims` are wrong, by simulation of the engine's own decisions.

Prints, for claims of 1 to 24 cells of which all or any must hold, with looks at 5, 8, 12 and 20 seeds: the rate of false
confirmations at the confirming line and of false refutations at the refuting line, in the least favorable of two configurations
(all cells at the line; one at the line and the others far beyond it); the power 1 and 2 standard deviations beyond the line; and
the mean number of seeds of a cell at 1. Cells that would need more than 400 seeds get no more after 8 or 12. Effects are normal
with standard deviation 1, the lines are at 1 and 0.

lr: "fixed", or chosen among five values for each arm with seeds of its own, as in effects.py. "flat": all are equally good, so a
lucky one is picked. "peaked": each step from the best one costs a standard deviation. (If the first five seeds chose for each
other instead, each on the other four, the false confirmations of flat ones would be .08 for one cell and .13 for 24.)

python scripts/claims_error_rates.py takes one to two minutes.
"""

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from normexp.claims.decide import FUTILE, Evidence, classify, p_above, weigh, would_decide
from normexp.claims.schema import CHOOSING_SEEDS, LOOK_LEVEL, LOOKS, Condition, Measure

Floats = NDArray[np.float64]
Combine = Literal["all", "any"]

RULE = Condition(what="", measure=Measure(tag=""), comparison="difference", direction=">=", confirm=1.0, refute=0.0)
FAR = 6.0
RATES = 5
"""Number of learning rates to choose from."""

CORRELATION = 0.8
"""Correlation of the validation score, which chooses, with the measured one, over seeds."""

MAX_NUMBERS = 10_000_000
"""Most random numbers of one chunk."""


@dataclass(frozen=True)
class Design:
    """A claim to simulate.

    slope: loss of the validation score for each step from the best lr, in standard deviations; None: lr is fixed.
    """

    cells: int
    combine: Combine
    repetitions: int
    slope: float | None = None
    level: float = LOOK_LEVEL


@dataclass(frozen=True)
class Rates:
    """Fractions of simulated claims that are confirmed, and refuted. seeds: mean number of a cell."""

    confirmed: float
    refuted: float
    seeds: float


def draw(means: Sequence[float], repetitions: int, slope: float | None, rng: np.random.Generator) -> Floats:
    """Effects with these means and standard deviation 1, (repetitions, cells, seeds)."""
    center = np.array(means)[:, None]
    shape = repetitions, len(means)
    if slope is None:
        return np.asarray(center + rng.standard_normal((*shape, LOOKS[-1])))
    score = -slope * np.abs(np.arange(RATES) - RATES // 2)[:, None] / np.sqrt(2)
    arms = []
    for _ in range(2):
        # around the chosen rate's mean
        metric = rng.standard_normal((*shape, RATES, CHOOSING_SEEDS + LOOKS[-1])) / np.sqrt(2)
        seen, judged = np.split(metric, [CHOOSING_SEEDS], axis=-1)
        noise = rng.standard_normal(seen.shape) / np.sqrt(2)
        scores = score + CORRELATION * seen + np.sqrt(1 - CORRELATION**2) * noise
        chosen = scores.mean(-1).argmax(-1)[..., None, None]
        arms.append(np.take_along_axis(judged, chosen, axis=-2)[..., 0, :])
    return np.asarray(center + arms[0] - arms[1])


def decide(effects: Floats, combine: Combine, level: float) -> Rates:
    """Judge claims look by look, as judge.py does: cells that are decided or hopeless keep their outcome and their p-values."""
    shape = effects.shape[:-1]
    evidence, seeds = Evidence(*(np.ones(shape) for _ in range(4))), np.zeros(shape)
    outcomes, stopped = np.zeros((3, *shape), dtype=bool), np.zeros(shape, dtype=bool)
    for n in LOOKS:
        undecided = ~outcomes.any(0) & ~stopped
        new = weigh(RULE, effects[..., :n], effects[..., :n])
        merged = zip(vars(new).values(), vars(evidence).values(), strict=True)
        evidence = Evidence(*(np.where(undecided, now, before) for now, before in merged))
        outcomes |= undecided & np.array(classify(evidence, combine, level))
        if combine == "any":  # one is enough
            stopped |= outcomes[0].any(-1, keepdims=True)
        seeds[undecided] = n
        if n > LOOKS[0]:
            lines = RULE.confirm, RULE.refute
            stopped |= ~would_decide(effects[..., :n], effects[..., :n], lines, level, FUTILE)
    confirmed, refuted, _ = outcomes
    if combine == "all":
        return Rates(confirmed.all(-1).mean(), refuted.any(-1).mean(), seeds.mean())
    return Rates(confirmed.any(-1).mean(), refuted.all(-1).mean(), seeds.mean())


def simulate(design: Design, means: Sequence[float]) -> Rates:
    """Rates of claims whose cells have these true effects."""
    rng = np.random.default_rng(0)
    size = max(1, MAX_NUMBERS // (len(means) * LOOKS[-1] * (1 if design.slope is None else 2 * RATES)))
    sizes = [min(size, design.repetitions - start) for start in range(0, design.repetitions, size)]
    parts = [decide(draw(means, part, design.slope, rng), design.combine, design.level) for part in sizes]
    return Rates(*(float(np.average([vars(part)[name] for part in parts], weights=sizes)) for name in vars(parts[0])))


def worst(design: Design, line: float) -> list[Rates]:
    """Rates in the least favorable configurations: a cell at the line, the others at the line or far beyond it."""
    far = FAR if design.combine == "all" else -FAR
    return [simulate(design, [line, *[other] * (design.cells - 1)]) for other in (line, far)[: design.cells]]


def false_confirmation(design: Design) -> float:
    return max(rates.confirmed for rates in worst(design, RULE.confirm))


def false_refutation(design: Design) -> float:
    return max(rates.refuted for rates in worst(design, RULE.refute))


def power(design: Design, beyond: float) -> Rates:
    """Rates where all cells, or one if any must hold, lie beyond the confirming line; the others lie between both lines."""
    others = RULE.confirm + beyond if design.combine == "all" else (RULE.confirm + RULE.refute) / 2
    return simulate(design, [RULE.confirm + beyond, *[others] * (design.cells - 1)])


def error_of_looks(repetitions: int, level: float = LOOK_LEVEL) -> float:
    """Overall one-sided error of one cell's t tests at a line."""
    effects = np.random.default_rng(0).standard_normal((repetitions, LOOKS[-1]))
    return float(np.any([p_above(effects[:, :n], 0.0) < level for n in LOOKS], axis=0).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description="Error rates of the rules of normexp claims, by simulation.")
    parser.add_argument("--repetitions", type=int, default=20_000, help="simulated claims per number (default: 20000)")
    parser.add_argument("--level", type=float, default=LOOK_LEVEL, help=f"level of each look (default: {LOOK_LEVEL})")
    options = parser.parse_args()
    n, level = options.repetitions, options.level
    print(f"Error at one line with level {level} over looks at {LOOKS} seeds: {error_of_looks(20 * n, level):.4f}\n")
    print("must hold  cells  lr      false confirm.  false refut.  power 1 sd  power 2 sd  seeds")
    combines: tuple[Combine, ...] = ("all", "any")
    lrs = {"fixed": None, "flat": 0.0, "peaked": 1.0}
    for combine, k, (lr, slope) in itertools.product(combines, (1, 4, 9, 24), lrs.items()):
        fewer = n if slope is None else max(1, n // max(2, k // 2))  # each takes ten times as many numbers
        design = Design(k, combine, fewer, slope, level)
        near, far = power(design, 1), power(design, 2)
        row = f"{combine:<9}  {k:>5}  {lr:<6}  {false_confirmation(design):<14.3f}  {false_refutation(design):<12.3f}  "
        print(f"{row}{near.confirmed:<10.2f}  {far.confirmed:<10.2f}  {near.seeds:.1f}", flush=True)


if __name__ == "__main__":
    main()
