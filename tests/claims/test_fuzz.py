"""Random claims that the loader accepts are judged without errors, whatever their runs measure."""

import json
import math
import warnings

import numpy as np
import pytest

from normexp.claims.fields import Fields
from normexp.claims.judge import first_look, judge
from normexp.claims.load import CLAIM_KEYS, _read_claim
from normexp.claims.runner import build_verdict
from normexp.claims.verdict import OUTCOMES, Verdict
from normexp.config import ConfigError

AXES = {
    "lr": [[0.1], [0.01, 0.1], [0.01, 0.1, 1.0], [0, 0.5], [1, 2, 4], [-1, 1]],
    "act": [["relu"], ["relu", "tanh"], {"a": ["activation=relu"], "b": ["activation=tanh", "init=xavier"]}],
    "depth": [[3], [2, 4], [2, 4, 8]],
    "flag": [[True, False], [None, 1]],
}
TAGS = ["val/accuracy", "val/loss", "test/accuracy", "grad_flow/*", "parameters"]
EFFECTS = [0.0, 1.0, -1.0, 0.3, 1e-12, 1e12, math.nan, 0.5]


def random_tree(rng):
    """A claim's file as a tree; about one in five is accepted."""

    def pick(values):
        return values[rng.integers(len(values))]

    def maybe(chance, **items):
        return items if rng.random() < chance else {}

    axes = {axis: pick(values) for axis, values in AXES.items() if rng.random() < 0.5}
    arms = list("abcd")[: rng.integers(1, 5)]

    def condition(required=False):
        comparison = pick(["difference", "ratio", "value", "share", "correlation"])
        count = {"value": 1, "share": pick([2, 4]), "correlation": len(arms)}.get(comparison, 2)
        low, high = sorted(rng.choice([0.1, 0.3, 0.5, 0.8, 1.0, 1.5], size=2, replace=False).tolist())
        direction = pick([">=", "<=", "within"])
        confirm, refute = (high, low) if direction == ">=" else (low, high)
        names = list(axes)
        take = pick(["best", "best", "gain", "decades", "largest", "min", "max", "mean", "slope"])
        return {
            "what": "effect",
            "measure": pick(TAGS),
            "compare": [pick(arms) for _ in range(count)] if comparison == "share" else arms[:count],
            "as": comparison,
            "is": direction,
            "confirm": confirm,
            **({} if required else {"refute": refute}),
            **maybe(0.2, at=pick(["first", "mean", 3])),
            **maybe(0.15, reaches=0.9),
            **maybe(0.8 * bool(names), over=pick(names or [""]), take=take),
            **(maybe(0.9, working=0.5) if take in ("decades", "largest") else {}),
            **maybe(0.1 * bool(names), best_of=pick(names or [""])),
            **maybe(0.1, multiple=pick([0.5, 3, 100])),
            **maybe(0.2, choose=pick(["val/accuracy", "val/loss"])),
            **(
                maybe(0.9, **{"with": {"measure": pick(TAGS)}, "pool": names[:2]})
                if comparison == "correlation"
                else {}
            ),
            **maybe(0.15, contrast={"depth": [2, 4]}),
            **maybe(0.15, where={"act": "relu"}),
            **maybe(0.3 * (direction == "within"), center=pick([1, 5])),
            **maybe(0.1 * (not required), decides=False),
        }

    return {
        "kind": "experiment",
        "statement": "s",
        "source": "s",
        "seeds": list(range(1, 1 + pick([1, 2, 3, 5, 8, 9, 20]))),
        "sweep": {"base": [], "arms": {arm: [f"norm={arm}"] for arm in arms}, "axes": axes},
        "rule": [condition() for _ in range(rng.integers(1, 3))],
        **maybe(0.2, requires=[condition(required=True)]),
        **maybe(0.3, combine="any"),
        **maybe(0.2, quick={"seeds": [1, 2]}),
    }


def random_results(rng):
    """Results that are sometimes missing, infinite, equal, negative or bounds."""
    kind, known = rng.integers(6), {}

    def measured(measure, arm, point, seed):
        key = measure, arm, tuple(sorted(point.items(), key=repr)), seed
        if key not in known:
            center = EFFECTS[rng.integers(len(EFFECTS))] if kind < 2 else 1.0 + "abcd".index(arm)
            low = center + (kind != 3) * rng.standard_normal() * (0.01 if kind == 4 else 1.0)
            if measure.reaches is not None:
                low = abs(low) if math.isfinite(low) else 0.0
                known[key] = (low, low + 1.0) if rng.random() < 0.5 else (10.0, math.inf)
            else:
                known[key] = (low, low) if kind != 5 or rng.random() < 0.8 else (math.nan, math.nan)
        return known[key]

    return measured


@pytest.mark.parametrize("start", range(0, 2000, 500))
def test_whatever_the_loader_accepts_is_judged(start):
    accepted = 0
    for seed in range(start, start + 500):
        rng = np.random.default_rng(seed)
        try:
            claim = _read_claim("mine", Fields(random_tree(rng), CLAIM_KEYS), scale="small", quick=False)
        except ConfigError as error:
            assert "\n" not in str(error)
            continue
        accepted += 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            judgement = judge(claim, random_results(rng))
        assert judgement.outcome in OUTCOMES
        assert not judgement.wanted
        for of in judgement.conditions:
            for cell in of.cells:
                ends = [cell.low, cell.effect, cell.high]
                assert all(end is None or math.isfinite(end) for end in ends)
                if None not in ends:
                    assert cell.low - 1e-9 * abs(cell.low) <= cell.high
                assert cell.win is None or 0 < cell.win < 1
        verdict = build_verdict(claim, judgement, code="", seconds=1.0, config_dir=None)
        content = json.dumps(verdict.to_json(), allow_nan=False)
        assert Verdict.from_json(json.loads(content)).outcome == judgement.outcome
    assert accepted > 50


def test_judged_seeds_have_no_part_in_a_choice():
    """With other numbers on the judged seeds, every arm has the same value in every cell."""
    compared = 0
    for claim, results in accepted(600):
        chosen = [choices(judge(claim, results))]

        def changed(measure, arm, point, seed, *, own=claim.choosing_seeds, results=results):
            return results(measure, arm, point, seed + 1000 * (seed not in own))

        chosen.append(choices(judge(claim, changed)))
        assert chosen[0] == chosen[1]
        compared += any(values for values, _ in chosen[0])
    assert compared > 20


def choices(judgement):
    return [(cell.chosen, cell.at_end) for of in judgement.conditions for cell in of.cells]


def test_only_chosen_values_are_trained_on_judged_seeds():
    checked = 0
    for claim, results in accepted(1500):
        (first, *others) = claim.rule
        alone = not others and not claim.requires and first.comparison != "correlation"
        if not alone or first.over is None or first.reduction not in ("best", "gain"):
            continue
        runs = [run for wanted in train(claim, results) for run in wanted]
        allowed = {
            (arm.split(", ")[0], value[first.over])
            for chosen, _ in choices(judge(claim, results))
            for arm, value in chosen.items()
        }
        if first.reduction == "gain":  # over the first value
            allowed |= {(arm, next(iter(claim.sweep.axes[first.over]))) for arm, _ in allowed}
        judged = {(arm, dict(point)[first.over]) for arm, point, seed in runs if seed not in claim.choosing_seeds}
        assert judged == allowed
        assert {seed for *_, seed in runs} <= {*claim.seeds, *claim.choosing_seeds}
        checked += bool(judged)
    assert checked > 20


def accepted(count):
    """Random claims that the loader accepts, with random results."""
    for seed in range(count):
        rng = np.random.default_rng(seed)
        try:
            claim = _read_claim("mine", Fields(random_tree(rng), CLAIM_KEYS), scale="small", quick=False)
        except ConfigError:
            continue
        yield claim, random_results(rng)


def test_nothing_is_wanted_twice_and_judging_ends():
    """Each round trains what is wanted; extensions, looks and choices all come to an end."""
    for claim, results in accepted(200):
        rounds = list(train(claim, results))
        assert len(rounds) < 20
        assert first_look(claim)


def train(claim, results):
    """The runs of each round."""
    trained = set()

    def known(measure, arm, point, seed):
        key = arm, tuple((axis, point[axis]) for axis in claim.sweep.axes), seed
        return results(measure, arm, point, seed) if key in trained else None

    while wanted := judge(claim, known).wanted:
        assert not trained & set(wanted)
        trained |= set(wanted)
        yield wanted
