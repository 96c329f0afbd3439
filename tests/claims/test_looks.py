"""Looks: which runs are wanted after each, and when a cell gets no more of them."""

import math

import pytest

from normexp.claims.judge import first_look, judge
from normexp.claims.runner import progress
from normexp.claims.schema import LOOKS, Measure
from tests.claims.making import ACTS, RATES, claim, condition, exactly, noisy, outcomes, seeds_of, settle, spread


def test_only_undecided_cells_get_more_seeds():
    of = claim(condition(), axes=ACTS)
    judgement, rounds = settle(of, spread({"relu": 100.0, "tanh": 1.4, "gelu": -100.0}))
    assert [seeds_of(runs) for runs in rounds] == [[*range(1, 6)], [6, 7, 8], [9, 10, 11, 12], [*range(13, 21)]]
    assert {dict(point)["act"] for _, point, _ in rounds[0]} == set(ACTS["act"])
    assert {point for runs in rounds[1:] for _, point, _ in runs} == {(("act", "tanh"),)}
    assert all(len(runs) == 2 * len(seeds_of(runs)) for runs in rounds[1:])
    assert outcomes(judgement) == [["confirmed", "undecided", "refuted"]]
    assert [cell.n for cell in judgement.conditions[0].cells] == [5, 20, 5]
    assert [look.n for look in judgement.conditions[0].cells[1].looks] == list(LOOKS)
    assert (judgement.outcome, judgement.seeds) == ("confirmed in part", 20)


def test_a_hopeless_cell_gets_no_more_seeds_after_the_second_look():
    """The same effect 0.4 standard deviations above the line needs about 60 seeds, and one at the line infinitely many."""
    of = claim(condition(), axes={"act": ("relu", "tanh")})
    judgement, rounds = settle(of, spread({"relu": 1.4, "tanh": 1.0}))
    assert [seeds_of(runs) for runs in rounds] == [[*range(1, 6)], [6, 7, 8], [9, 10, 11, 12], [*range(13, 21)]]
    assert [{point for _, point, _ in runs} for runs in rounds[2:]] == [{(("act", "relu"),)}] * 2
    more, stopped = judgement.conditions[0].cells
    assert (more.n, more.note, stopped.n, stopped.outcome) == (20, None, 8, "undecided")
    assert stopped.note == "stopped after 8 seeds: even 20 would hardly decide"
    assert (judgement.outcome, judgement.seeds) == ("undecided", 20)
    alone = judge(of, spread({"relu": 1.0, "tanh": 1.0}))  # all runs are there
    assert (alone.outcome, alone.seeds, alone.wanted) == ("undecided", 8, [])


def test_a_cell_that_becomes_hopeless_later_stops_later():
    """And one of which only a bound is known goes on: nobody can say how many seeds it needs."""
    later = exactly(lambda arm, _, seed: (arm == "bn") * (1.0 + (-1) ** seed + 0.5 * (seed <= 8) - (8 < seed <= 12)))
    judgement, _ = settle(claim(condition()), later)
    assert (judgement.outcome, judgement.seeds) == ("undecided", 12)
    bound, _ = settle(claim(condition()), lambda m, arm, p, seed: (0.0, math.inf) if arm == "bn" else (0.0, 0.0))
    assert (bound.outcome, bound.seeds) == ("undecided", 20)


def test_a_claim_of_which_any_must_hold_needs_no_more_seeds_once_one_does():
    of = claim(condition(), axes=ACTS, combine="any")
    judgement, rounds = settle(of, spread({"relu": 100.0, "tanh": 1.4, "gelu": 1.4}))
    assert (len(rounds), judgement.outcome, judgement.seeds) == (1, "confirmed", 5)
    assert outcomes(judgement) == [["confirmed", "undecided", "undecided"]]


def test_a_stopped_cell_says_also_that_its_best_value_is_at_an_end():
    def measured(measure, arm, point, seed):
        return (point["lr"] if measure.tag == "val/accuracy" else (arm == "bn") * (1.0 + (-1) ** seed),) * 2

    of = claim(condition(measure=Measure(tag="test/accuracy"), over="lr"), axes={"lr": RATES})
    ((cell,),) = (of.cells for of in judge(of, measured).conditions)
    stopped = "stopped after 8 seeds: even 20 would hardly decide"
    assert cell.note == f"{stopped}; best lr at the edge of the range: largest for bn, largest for none"


def test_why_runs_are_trained_counts_only_cells_that_get_more():
    of = claim(condition(), axes={"act": ("relu", "tanh")})
    measured = spread({"relu": 1.4, "tanh": 1.0})
    for n, words in ((5, "2 of 2 cells undecided after 5 seeds"), (12, "1 of 2 cells undecided after 12 seeds")):
        judgement = judge(of, lambda m, arm, p, seed, n=n: measured(m, arm, p, seed) if seed <= n else None)
        assert progress(judgement, of, again=True) == words


def test_a_decided_cell_keeps_its_outcome_whatever_its_other_seeds_say():
    def measured(measure, arm, point, seed):
        lucky = 100.0 if seed <= 5 else -100.0
        return ((arm == "bn") * ((lucky if point["act"] == "relu" else 1.4) + (-1) ** seed),) * 2

    judgement = judge(claim(condition(), axes={"act": ("relu", "tanh")}), measured)  # all runs are there
    assert outcomes(judgement) == [["confirmed", "undecided"]]
    assert judgement.conditions[0].cells[0].n == 5


@pytest.mark.parametrize(("limit", "seeds"), [(5, 5), (7, 5), (8, 8), (11, 8), (20, 20), (None, 20), (1, 5)])
def test_the_number_of_seeds_can_be_limited(limit, seeds):
    judgement, rounds = settle(
        claim(condition()), exactly(lambda arm, _, seed: (arm == "bn") * (1.4 + (-1) ** seed)), max_seeds=limit
    )
    assert judgement.seeds == seeds == max(seed for runs in rounds for *_, seed in runs)
    assert judgement.outcome == "undecided"


def test_with_few_seeds_there_is_one_look_at_the_usual_level():
    few, many = claim(condition(), seeds=3), claim(condition())
    assert (few.looks, few.level, many.looks, many.level) == ((3,), 0.05, LOOKS, 0.017)
    assert (claim(condition(), seeds=5).looks, claim(condition(), seeds=5).level) == ((5,), 0.05)
    assert claim(condition(), seeds=10).looks == (5, 8)
    assert claim(condition(), seeds=1).looks == (1,)
    assert settle(few, noisy({"bn": 50.0, "none": 0.0}))[0].outcome == "confirmed"
    assert settle(claim(condition(), seeds=1), noisy({"bn": 50.0, "none": 0.0}))[0].outcome == "undecided"


def test_judged_seeds_are_trained_at_the_chosen_values_alone():
    of = claim(condition(measure=Measure(tag="test/accuracy"), over="lr"), axes={"lr": RATES})
    best = {"bn": 0.1, "none": 1.0}

    def measured(measure, arm, point, seed):
        far = abs(math.log10(point["lr"] / best[arm]))
        return ((-far if measure.tag == "val/accuracy" else (1.8 + 2.0 * (-1) ** seed) * (arm == "bn")),) * 2

    judgement, rounds = settle(of, measured)
    first, second, third, *later = ([(arm, dict(point)["lr"], seed) for arm, point, seed in runs] for runs in rounds)
    assert set(first) == {(arm, lr, seed) for arm in best for lr in RATES for seed in (21, 22, 23)}
    assert set(second) == {("bn", 0.1, seed) for seed in range(1, 6)} | {("none", 10.0, seed) for seed in (21, 22, 23)}
    assert set(third) == {("none", 1.0, seed) for seed in range(1, 6)}
    looks = range(6, 9), range(9, 13), range(13, 21)
    assert [set(runs) for runs in later] == [{(arm, best[arm], s) for arm in best for s in look} for look in looks]
    assert judgement.conditions[0].cells[0].chosen == {arm: {"lr": lr} for arm, lr in best.items()}


def test_a_condition_that_needs_all_values_has_them_on_the_judged_seeds():
    """Choosing seeds have no part in what covers all values."""
    test = Measure(tag="test/accuracy")
    rules = condition(measure=test, over="lr"), condition(measure=test, over="lr", reduction="mean", decides=False)
    of = claim(*rules, axes={"lr": RATES})

    def measured(measure, arm, point, seed):
        return (float(point["lr"] == 0.1) if measure == test and seed <= 20 else -abs(math.log10(point["lr"]) + 1),) * 2

    judgement, (first, second, *_) = settle(of, measured)
    judged = {(arm, (("lr", lr),), seed) for arm in ("bn", "none") for lr in RATES for seed in range(1, 6)}
    assert set(first) == judged | {(arm, point, seed + 20) for arm, point, seed in judged if seed <= 3}
    assert {point for _, point, _ in second} == {(("lr", 0.1),)}
    chosen, mean = (of.cells[0] for of in judgement.conditions)
    assert chosen.values == dict.fromkeys(("bn", "none"), [1.0] * 8)
    assert mean.values == dict.fromkeys(("bn", "none"), pytest.approx([1 / 3] * 5))


def test_requirements_hold_on_average_over_the_first_looks_seeds():
    """At the value that the choosing seeds prefer, whatever those measure."""
    learns = condition(comparison="value", arms=("none",), measure=Measure(tag="test/accuracy"), over="lr", confirm=0.5)
    of = claim(condition(), axes={"lr": RATES}, requires=(learns,))
    for good, outcome in ((range(1, 6), "confirmed"), (range(6, 30), "not comparable")):

        def measured(measure, arm, point, seed, good=good):
            if measure.tag == "test/accuracy":
                return (float(seed in good and point["lr"] == 0.1),) * 2
            return (50.0 * (arm == "bn") - abs(math.log10(point["lr"]) + 1) + 0.01 * (-1) ** seed * (arm == "bn"),) * 2

        judgement, rounds = settle(of, measured)
        assert judgement.outcome == outcome
        assert seeds_of(rounds[0]) == [1, 2, 3, 4, 5, 21, 22, 23]


@pytest.mark.parametrize(
    ("rules", "runs"),
    [
        ([condition()], 2 * 3 * 5),  # a cell for each rate
        ([condition(over="lr")], 2 * 3 * 3 + 2 * 5),
        ([condition(over="lr"), condition()], 2 * 3 * 3 + 2 * 3 * 5),
        ([condition(over="lr", reduction="gain")], 2 * 3 * 3 + 2 * 2 * 5),
        ([condition(over="lr", comparison="value", arms=("bn",))], 3 * 3 + 5),
    ],
)
def test_the_runs_of_the_first_look(rules, runs):
    of = claim(*rules, axes={"lr": RATES})
    counted = first_look(of)
    assert len(counted) == len(set(counted)) == runs
    _, rounds = settle(of, lambda measure, arm, point, seed: (float(point["lr"] == 0.1),) * 2, max_seeds=5)
    assert sorted(counted) == sorted(run for of_round in rounds for run in of_round)


def test_reported_conditions_get_no_more_seeds_and_decide_nothing():
    reported = condition(decides=False, measure=Measure(tag="test/accuracy"))
    of = claim(condition(), reported)

    def measured(measure, arm, point, seed):
        return ((arm == "bn") * (50.0 if measure.tag == "val/accuracy" else 1.0 + (-1) ** seed),) * 2

    judgement, rounds = settle(of, measured)
    assert [seeds_of(runs) for runs in rounds] == [[1, 2, 3, 4, 5]]
    assert outcomes(judgement) == [["confirmed"], ["undecided"]]
    assert judgement.outcome == "confirmed"


def test_reported_cells_get_no_more_seeds_where_others_do():
    deciding, reported = (condition(where={"act": (act,)}, decides=act == "relu") for act in ("relu", "tanh"))
    judgement, rounds = settle(claim(deciding, reported, axes=ACTS), spread({"relu": 1.4, "tanh": 1.4}))
    assert len(rounds) == len(LOOKS)
    assert {point for runs in rounds[1:] for _, point, _ in runs} == {(("act", "relu"),)}
    assert [of.cells[0].n for of in judgement.conditions] == [20, 5]
    judgement, _ = settle(claim(deciding, reported, axes=ACTS), spread({"relu": 1.4, "tanh": 1.0}))
    assert [of.cells[0].note for of in judgement.conditions] == [None, None]  # it was not stopped, it never gets more
