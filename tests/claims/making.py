"""Small claims and made-up results."""

import numpy as np

from normexp.claims.effects import Reader, effects
from normexp.claims.judge import judge
from normexp.claims.schema import Claim, Condition, Measure, Sweep, format_point

ACCURACY = Measure(tag="val/accuracy")
STEPS = Measure(tag="val/accuracy", reaches=0.9)
RATES = (0.01, 0.1, 1.0)
SEEDS = (1, 2, 3, 4, 5)
ACTS = {"act": ("relu", "tanh", "gelu")}


def condition(**fields):
    """A difference in accuracy, bn minus none: at least 1, refuted below 0."""
    usual = {"what": "effect", "measure": ACCURACY, "arms": ("bn", "none"), "comparison": "difference"}
    lines = {"direction": ">=", "confirm": 1.0, "refute": 0.0}
    return Condition(**{**usual, **lines, **fields})


def claim(*rule, seeds=20, arms=("bn", "none"), axes=None, **fields):
    """A claim of these conditions, with seeds 1 to `seeds`. axes: {"lr": (0.01, 0.1)}."""
    values = {axis: {v: (format_point({axis: v}),) for v in of} for axis, of in (axes or {}).items()}
    sweep = Sweep(base=(), arms={arm: (f"norm={arm}",) for arm in arms}, axes=values)
    words = {"name": "mine", "kind": "experiment", "statement": "", "source": "", "explanation": "", "cost": ""}
    return Claim(**words, seeds=tuple(range(1, seeds + 1)), sweep=sweep, rule=rule, **fields)


def exactly(function):
    """Results that are known exactly, from a function of (arm, point, seed)."""
    return lambda measure, arm, point, seed: (function(arm, point, seed),) * 2


def noisy(means, spread=1.0, seed=0):
    """Results with a mean for each arm, or for (arm, value of the first axis), and normal noise."""

    def number(arm, point, seed_of_run):
        key = arm, *list(point.values())[:1]
        rng = np.random.default_rng([seed, seed_of_run, *map(ord, repr((arm, sorted(point.items()))))])
        return means[key if key in means else arm] + spread * rng.standard_normal()

    return exactly(number)


def compute(rule, measured, cell=None, seeds=SEEDS, **of):
    """The effects of a condition in a claim, and the runs that are missing for them."""
    reader = Reader(claim(rule, **of), measured)
    return effects(rule, cell or {}, seeds, reader), reader.missing


def settle(of, measured, **options):
    """Judge a claim, train what is wanted, and so on. Returns the last judgement, and the runs of each round."""
    trained, rounds = set(), []

    def known(measure, arm, point, seed):
        return measured(measure, arm, point, seed) if (arm, tuple(point.items()), seed) in trained else None

    while (judgement := judge(of, known, **options)).wanted:
        assert not trained & set(judgement.wanted)
        assert len(set(judgement.wanted)) == len(judgement.wanted)
        trained |= set(judgement.wanted)
        rounds.append(judgement.wanted)
    return judgement, rounds


def outcomes(judgement):
    return [[cell.outcome for cell in of.cells] for of in judgement.conditions]


def seeds_of(runs):
    return sorted({seed for *_, seed in runs})


def spread(means, sd=1.0):
    """Effects (bn minus none) by activation with this mean, and exactly this standard deviation over any even number of seeds."""
    return exactly(lambda arm, point, seed: (arm == "bn") * (means[point["act"]] + sd * (-1) ** seed))
