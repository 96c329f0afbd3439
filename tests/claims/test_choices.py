"""Choosing an axis value for each arm: on other seeds, by validation data, on a grid that may be extended."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from normexp.claims.grid import extend, nearest
from normexp.claims.schema import Measure
from tests.claims.making import RATES, SEEDS, STEPS, compute, condition, exactly


def best(**fields):
    return condition(over="lr", **{"reduction": "best", **fields})


def scored(scores, values):
    """Validation accuracies and test accuracies by (lr, seed)."""

    def measured(measure, arm, point, seed):
        which = scores if measure.tag == "val/accuracy" else values
        return (which[point["lr"], seed],) * 2

    return measured


def random_scores(rates=RATES, seeds=range(1, 9), rng=None):
    rng = rng or np.random.default_rng(0)
    scores = {(lr, seed): rng.normal() + 3 * (lr == 0.1) for lr in rates for seed in seeds}
    return scores, {key: rng.normal() for key in scores}


TEST = Measure(tag="test/accuracy")


def test_a_seed_of_the_first_look_has_no_part_in_the_choice_it_is_judged_by():
    rng = np.random.default_rng(1)
    scores = {(lr, seed): rng.normal() for lr in RATES for seed in SEEDS}
    values = {key: rng.normal() for key in scores}
    rule = best(comparison="value", arms=("bn",), measure=TEST)
    # no extension: quick claims have none
    effect, _ = compute(rule, scored(scores, values), axes={"lr": RATES}, quick=True)
    for seed in SEEDS:
        others = [s for s in SEEDS if s != seed]
        chosen = max(RATES, key=lambda lr, of=others: np.mean([scores[lr, s] for s in of]))
        assert effect.low[seed - 1] == values[chosen, seed]
        changed = scores | {(lr, seed): 100 * rng.normal() for lr in RATES}
        again, _ = compute(rule, scored(changed, values), axes={"lr": RATES}, quick=True)
        assert again.low[seed - 1] == effect.low[seed - 1]
    middle = max(RATES, key=lambda lr: np.mean([scores[lr, s] for s in SEEDS]))
    assert effect.chosen == {"bn": {"lr": middle}}


def test_later_seeds_use_what_the_first_look_chose_and_train_nothing_else():
    scores, values = random_scores()
    rule = best(comparison="value", arms=("bn",), measure=TEST)
    known = scored(scores, values)
    asked = []

    def measured(measure, arm, point, seed):
        if seed > 5:
            asked.append((measure.tag, point["lr"], seed))
        return known(measure, arm, point, seed)

    effect, _ = compute(rule, measured, seeds=range(1, 9), axes={"lr": RATES})
    assert effect.low[5:].tolist() == [values[0.1, seed] for seed in (6, 7, 8)]
    assert set(asked) == {("test/accuracy", 0.1, seed) for seed in (6, 7, 8)}
    _, missing = compute(rule, lambda *a: None if a[3] > 5 else known(*a), seeds=range(1, 9), axes={"lr": RATES})
    assert list(missing) == [("bn", (("lr", 0.1),), seed) for seed in (6, 7, 8)]


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
    assert len(missing) == 4 * 5


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
        return (math.nan if (point["lr"], seed) == (0.1, 2) else -abs(point["lr"] - 0.1),) * 2

    effect, _ = compute(best(comparison="value", arms=("bn",), choose_by="val/accuracy"), measured, axes={"lr": RATES})
    assert effect.chosen == {"bn": {"lr": 0.01}}
    nothing, _ = compute(best(), exactly(lambda *_: math.nan), axes={"lr": RATES})
    assert np.isnan(nothing.low).all()
    assert not nothing.chosen
