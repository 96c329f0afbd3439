"""Choosing an axis value for each arm: on other seeds, by validation data, on a grid that may be extended."""

import math
import warnings
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from normexp.claims.effects import _end
from normexp.claims.grid import extend, nearest
from normexp.claims.load import claim_names, read_claim
from normexp.claims.schema import Measure
from normexp.config import ConfigError
from tests.claims.making import RATES, SEEDS, STEPS, claim, compute, condition, exactly


def best(**fields):
    return condition(over="lr", **{"reduction": "best", **fields})


TEST = Measure(tag="test/accuracy")
CHOOSING = (21, 22, 23)
"""The choosing seeds of a claim with the seeds 1 to 20."""


class Random:
    """Random numbers, the same each time for the same measure, arm, rate and seed. asked: the runs that were read."""

    def __init__(self, rng):
        self.rng, self.numbers, self.asked = rng, {}, set()

    def __call__(self, measure, arm, point, seed):
        self.asked.add((arm, point["lr"], seed))
        key = measure.tag, arm, point["lr"], seed
        if key not in self.numbers:
            self.numbers[key] = float(self.rng.normal())
        return (self.numbers[key],) * 2

    def changed(self, seeds):
        """The same, but with new numbers for these seeds."""
        other = Random(self.rng)
        other.numbers = {key: number for key, number in self.numbers.items() if key[-1] not in seeds}
        return other


@pytest.mark.parametrize("seeds", [(1,), (2, 1), (5, 1, 3), (0, 7), tuple(range(501, 521)), (520, 501), (2**40, 1)])
@pytest.mark.parametrize("quick", [False, True])
def test_choosing_seeds_come_after_those_that_are_judged(seeds, quick):
    of = replace(claim(best(), axes={"lr": RATES}), seeds=seeds, quick=quick)
    assert of.choosing_seeds == tuple(range(max(seeds) + 1, max(seeds) + (2 if quick else 4)))
    assert not {*of.choosing_seeds} & {*of.seeds}


@pytest.mark.parametrize("name", claim_names())
def test_claims_judge_no_seed_that_chooses(name):
    for scale, quick in (("small", False), ("small", True), ("full", False)):
        with suppress(ConfigError):  # not every claim has a full scale
            of = read_claim(name, scale=scale, quick=quick)
            assert not {*of.choosing_seeds} & {*of.seeds}


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("start", range(30))
def test_the_choosing_seeds_alone_choose(start, quick):
    rng = np.random.default_rng(start)
    results, rule = Random(rng), best(comparison="value", arms=("bn",), measure=TEST)
    effect, _ = compute(rule, results, axes={"lr": RATES}, quick=quick)
    seeds = CHOOSING[:1] if quick else CHOOSING
    tried = sorted({lr for _, lr, _ in results.asked})
    chosen = max(tried, key=lambda lr: np.mean([results.numbers["val/accuracy", "bn", lr, seed] for seed in seeds]))
    assert effect.chosen == {"bn": {"lr": chosen}}
    assert effect.low.tolist() == [results.numbers["test/accuracy", "bn", chosen, seed] for seed in SEEDS]
    assert results.asked == {("bn", lr, s) for lr in tried for s in seeds} | {("bn", chosen, s) for s in SEEDS}

    again, _ = compute(rule, results.changed(SEEDS), axes={"lr": RATES}, quick=quick)  # the judged seeds
    assert (again.chosen, again.at_end) == (effect.chosen, effect.at_end)
    assert not {*again.low} & {*effect.low}
    more, _ = compute(rule, results, seeds=range(1, 9), axes={"lr": RATES}, quick=quick)
    assert (more.chosen, more.low[:5].tolist()) == (effect.chosen, effect.low.tolist())


def test_a_measure_that_chooses_for_itself_is_judged_on_other_seeds():
    """Ten equal values: the best of them is lucky on the choosing seeds, and has no bias on the others."""
    rates, rule = tuple(range(1, 11)), best(comparison="value", arms=("bn",), choose_by=None)
    means = []
    for start in range(400):
        effect, _ = compute(rule, Random(np.random.default_rng(start)), axes={"lr": rates}, quick=True)
        means.append(effect.low.mean())
    assert abs(np.mean(means)) < 4 / np.sqrt(5 * 400)


def test_first_all_values_are_trained_to_choose_then_the_chosen_one_is_judged():
    rule, results = best(measure=TEST), peak_at(0.1)
    _, missing = compute(rule, lambda *_: None, axes={"lr": RATES})
    assert {*missing} == {(arm, (("lr", lr),), s) for arm in ("bn", "none") for lr in RATES for s in CHOOSING}
    _, missing = compute(rule, lambda *key: results(*key) if key[-1] in CHOOSING else None, axes={"lr": RATES})
    assert {*missing} == {(arm, (("lr", 0.1),), seed) for arm in ("bn", "none") for seed in SEEDS}
    _, missing = compute(
        rule, lambda *key: results(*key) if key[-1] not in (6, 7, 8) else None, seeds=range(1, 9), axes={"lr": RATES}
    )
    assert {*missing} == {(arm, (("lr", 0.1),), seed) for arm in ("bn", "none") for seed in (6, 7, 8)}


def test_a_single_value_is_not_chosen_by_runs():
    rule = best(comparison="value", arms=("bn",), measure=TEST)
    effect, missing = compute(rule, lambda *_: None, axes={"lr": (0.1,)})
    assert {*missing} == {("bn", (("lr", 0.1),), seed) for seed in SEEDS}
    assert (effect.chosen, effect.at_end) == ({"bn": {"lr": 0.1}}, {})


@pytest.mark.parametrize(
    ("scores", "end"),
    [
        ([[1, 1, 1], [2, 2, 2], [1, 1, 1]], ""),  # inside
        ([[1, 1, 1], [2, 2, 2], [3, 3, 3]], "largest"),
        ([[3, 3, 3], [2, 2, 2], [1, 1, 1]], "smallest"),
        ([[1, 1, 1], [1, 1, 1], [1, 1, 1]], ""),
        ([[2, 2, 2], [2, 2, 2], [1, 1, 1]], ""),  # ties with its neighbor
        ([[1, 1, 1], [2, 2, 2], [2, 2, 2]], ""),
        ([[0, 0, 0], [1, 2, 3], [2, 3, 1.1]], ""),  # .03 better, with a standard error of 1
        ([[0, 0, 0], [1, 2, 3], [2, 3, 4.1]], "largest"),  # the same step on each seed
        ([[0, 0, 0], [0, 0, 0], [0, 0, 3]], ""),  # exactly one standard error
        ([[0, 0, 0], [0, 0, 0], [0, 0.1, 3]], "largest"),
        ([[1, 1, 1], [2, 2, -math.inf], [3, 3, 3]], "largest"),  # the neighbor lacks a seed
        ([[3, 3, 3], [-math.inf] * 3, [-math.inf] * 3], "smallest"),
        ([[-math.inf] * 3] * 3, ""),
        ([[-math.inf] * 3] * 2, ""),
        ([[1, -math.inf, 1], [2, 2, -math.inf]], ""),  # both lack one
        ([[1, 1, 1], [1, 1, 1]], ""),
        ([[1, 1, 1], [2, 2, 2]], "largest"),
        ([[1], [2], [3]], "largest"),  # a quick run
        ([[3], [3], [2]], ""),
        ([[1, 1, 1]], ""),
    ],
)
def test_the_best_value_is_at_an_end_if_it_is_surely_better_than_its_neighbor(scores, end):
    numbers = np.array(scores, dtype=float)
    rates = RATES[: len(scores)]
    opposite = {"largest": "smallest", "smallest": "largest", "": ""}[end]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _end(rates, numbers) == end
        assert _end(rates[::-1], numbers) == opposite  # the order of the file plays no part
        assert _end(("a", "b", "c")[: len(scores)], numbers) == ""
        assert _end((0.0, *rates[1:]), numbers) == ""  # no grid


def test_noise_alone_extends_few_grids():
    """By chance, one of three equal values is at an end in 2 of 3 cases, and better by a standard error in far fewer."""
    rng = np.random.default_rng(0)
    ends = [_end(RATES, rng.normal(size=(3, 3))) for _ in range(1000)]
    assert 0.2 < np.mean([bool(end) for end in ends]) < 0.55
    assert all(_end(RATES, np.arange(3)[:, None] * 2.0 + 0.1 * rng.normal(size=(3, 3))) for _ in range(100))


def test_losses_and_steps_are_chosen_where_they_are_lowest():
    rates = (0.01, 0.1, 1.0)
    rule = best(comparison="value", arms=("bn",), measure=TEST, choose_by="val/loss")
    at_lr = exactly(lambda arm, point, seed: abs(math.log10(point["lr"]) + 1))
    assert compute(rule, at_lr, axes={"lr": rates})[0].chosen == {"bn": {"lr": 0.1}}

    def steps(measure, arm, point, seed):
        return {0.01: (100.0, math.inf), 0.1: (40.0, 50.0), 1.0: (3.0, math.inf)}[point["lr"]]  # 1.0 diverged at step 3

    rule = best(comparison="ratio", arms=("none", "bn"), measure=STEPS, choose_by=None)
    effect, _ = compute(rule, steps, axes={"lr": rates})
    assert effect.chosen == {"none": {"lr": 0.1}, "bn": {"lr": 0.1}}
    assert effect.low == pytest.approx(np.full(5, math.log(40 / 50)))
    assert effect.high == pytest.approx(np.full(5, math.log(50 / 40)))


def test_where_no_rate_gets_there_the_most_accurate_one_is_chosen_and_the_grid_extended():
    """Otherwise "it never gets there" would be said of an arbitrary learning rate."""

    def measured(measure, arm, point, seed):
        if measure.reaches is None:
            return (0.3 + 0.2 * math.log10(point["lr"]),) * 2
        return (40.0, 50.0) if arm == "bn" or point["lr"] > 50 else (1000.0, math.inf)

    rule = best(comparison="ratio", arms=("none", "bn"), measure=STEPS, choose_by=None)
    effect, _ = compute(rule, measured, axes={"lr": RATES})
    assert effect.chosen["none"] == {"lr": 100.0}
    assert effect.at_end == {"none": "largest"}
    assert (effect.high < math.inf).all()


def test_steps_that_never_end_give_a_bound():
    def steps(measure, arm, point, seed):
        return (1000.0, math.inf) if arm == "none" else (40.0, 50.0)

    rule = best(comparison="ratio", arms=("none", "bn"), measure=STEPS, choose_by=None)
    effect, _ = compute(rule, steps, axes={"lr": RATES})
    assert effect.low == pytest.approx(np.full(5, math.log(1000 / 50)))
    assert (effect.high == math.inf).all()
    assert effect.chosen == {"none": {"lr": 0.1}, "bn": {"lr": 0.1}}  # all are the same: the one in the middle
    assert effect.at_end == {}


def peak_at(best_lr):
    return exactly(lambda arm, point, seed: 1 - abs(math.log10(point["lr"] / best_lr)))


@pytest.mark.parametrize(
    ("best_lr", "tried", "chosen", "end"),
    [
        (0.1, {*RATES}, 0.1, None),
        (10.0, {*RATES, 10.0, 100.0}, 10.0, None),
        (100.0, {*RATES, 10.0, 100.0}, 100.0, "largest"),
        (1e4, {*RATES, 10.0, 100.0}, 100.0, "largest"),
        (1e-3, {*RATES, 1e-3, 1e-4}, 1e-3, None),
        (1e-9, {*RATES, 1e-3, 1e-4}, 1e-4, "smallest"),
    ],
)
def test_a_best_value_at_the_edge_extends_the_grid_twice_at_most(best_lr, tried, chosen, end):
    seen = set()
    known = peak_at(best_lr)

    def measured(measure, arm, point, seed):
        seen.add(point["lr"])
        return known(measure, arm, point, seed)

    effect, _ = compute(best(), measured, axes={"lr": RATES})
    assert seen == tried
    assert effect.chosen == {arm: {"lr": chosen} for arm in ("bn", "none")}
    assert effect.at_end == ({} if end is None else dict.fromkeys(("bn", "none"), end))


@pytest.mark.parametrize(
    ("rates", "fields", "of"),
    [
        (RATES, {}, {"quick": True}),
        ((0.0, 0.1, 1.0), {}, {}),
        (("a", "b", "c"), {}, {}),
        (RATES, {"reduction": "gain"}, {}),
        ((0.1,), {}, {}),
    ],
)
def test_some_grids_are_never_extended(rates, fields, of):
    seen = set()

    def measured(measure, arm, point, seed):
        seen.add(point["lr"])
        return (float(rates.index(point["lr"])),) * 2

    effect, _ = compute(best(**fields), measured, axes={"lr": rates}, **of)
    assert seen == set(rates)
    assert effect.at_end == (dict.fromkeys(("bn", "none"), "largest") if of or fields else {})


def test_arms_extend_their_grids_at_the_same_time():
    """What is missing of one arm does not hold up another, or a claim of twelve arms would train for twelve rounds."""

    def measured(measure, arm, point, seed):
        return peak_at(10.0 if arm == "bn" else 1e-3)(measure, arm, point, seed) if point["lr"] in RATES else None

    _, missing = compute(best(), measured, axes={"lr": RATES})
    assert {(arm, dict(point)["lr"]) for arm, point, _ in missing} == {("bn", 10.0), ("none", 1e-3)}
    rule = best(comparison="correlation", other=Measure(tag="norm"), pool=("act",))
    _, missing = compute(rule, measured, axes={"lr": RATES, "act": ("relu", "tanh")})
    assert len(missing) == 4 * 3


def test_values_beyond_the_grid():
    assert extend([0.01, 0.03], 0.03) == [0.01, 0.03, 0.09]
    assert extend([0.2, 0.5], 0.5) == [0.2, 0.5, 1.25]
    assert extend([0.03, 0.1], 0.1) == [0.03, 0.1, 0.3]
    assert extend([1.0, 0.1], 0.1) == [0.01, 1.0, 0.1]
    assert extend([0.1, 0.11], 0.11) == [0.1, 0.11, 0.121]
    assert extend([2, 8], 8) == [2, 8, 32]
    assert [type(value) for value in extend([2, 8], 8)] == [int] * 3  # batch_size=32.0 would not be valid
    assert extend([1, 4], 1) == [1, 4]  # 0.25 is not an integer
    assert extend([2, 8], 2) == [2, 8]  # 0.5, which would be 0
    assert extend([1e-300, 0.1], 1e-300) == [1e-300, 0.1]


@given(st.lists(st.floats(1e-4, 1e2), min_size=2, max_size=5, unique=True).map(sorted), st.booleans())
def test_an_added_value_is_new_and_beyond_the_end(values, low):
    added = set(extend(values, values[0] if low else values[-1])) - set(values)
    assert all((value < values[0]) if low else (value > values[-1]) for value in added)
    assert all(value > 0 for value in added)


def test_the_first_arm_is_read_at_a_multiple_of_the_seconds_best():
    rates = (0.01, 0.03, 0.1, 0.3, 1.0)
    rule = best(multiple=10.0, comparison="difference")

    def measured(measure, arm, point, seed):
        if measure.tag == "val/accuracy" and arm == "none":
            return (float(point["lr"] == 0.03),) * 2
        return (point["lr"],) * 2

    effect, _ = compute(rule, measured, axes={"lr": rates})
    assert effect.chosen == {"bn": {"lr": 0.3}, "none": {"lr": 0.03}}
    far, _ = compute(best(multiple=300.0), measured, axes={"lr": rates})
    assert far.chosen["bn"] == {"lr": 9.0}  # not 1, the nearest of the grid
    assert nearest(5.0, 0.1, rates) == 0.3
    assert nearest(2, 4, (4, 8, 16)) == 8


def test_a_gain_is_over_the_first_value_which_can_not_be_chosen():
    rates = (0.0, 0.2, 0.5)
    rule = condition(over="dropout", reduction="gain", measure=TEST, comparison="value", arms=("bn",))
    scores = {0.0: 0.9, 0.2: 0.8, 0.5: 0.7}
    effect, _ = compute(rule, exactly(lambda arm, point, seed: scores[point["dropout"]]), axes={"dropout": rates})
    assert effect.low == pytest.approx(np.full(5, -0.1))
    assert effect.chosen == {"bn": {"dropout": 0.2}}


def test_a_value_that_lacks_a_seed_is_not_chosen():
    def measured(measure, arm, point, seed):
        return (math.nan if (point["lr"], seed) == (0.1, 22) else -abs(point["lr"] - 0.1),) * 2

    effect, _ = compute(best(comparison="value", arms=("bn",), choose_by="val/accuracy"), measured, axes={"lr": RATES})
    assert effect.chosen == {"bn": {"lr": 0.01}}
    nothing, _ = compute(best(), exactly(lambda *_: math.nan), axes={"lr": RATES})
    assert np.isnan(nothing.low).all()
    assert not nothing.chosen
