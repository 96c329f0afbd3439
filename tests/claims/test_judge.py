"""Looks, cells and combinations: which runs are wanted, and what a claim's outcome is."""

import math

import numpy as np
import pytest

from normexp.claims.judge import cells, first_look, judge
from normexp.claims.schema import LOOKS, Measure
from tests.claims.making import RATES, STEPS, claim, condition, exactly, noisy

ACTS = {"act": ("relu", "tanh", "gelu")}


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
    assert stopped.note == "no more than 8 seeds, since 20 would hardly decide"
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


def test_reported_conditions_do_not_weigh_in_the_correction():
    """Refuting one of k deciding cells is corrected for k, and reported ones don't count."""

    def measured(measure, arm, point, seed):
        return ((arm == "bn") * (-1.0 + 0.85 * (seed - 3) / 1.5811),) * 2  # p = .0294, .0147 * 2 in a pair

    alone = judge(claim(condition(), *[condition(decides=False, what=f"{i}") for i in range(5)], seeds=5), measured)
    assert outcomes(alone)[0] == ["refuted"]
    five = judge(claim(*[condition(what=f"{i}") for i in range(5)], seeds=5), measured)
    assert outcomes(five) == [["undecided"]] * 5
    any_of_five = judge(claim(*[condition(what=f"{i}") for i in range(5)], seeds=5, combine="any"), measured)
    assert (outcomes(any_of_five), any_of_five.outcome) == ([["refuted"]] * 5, "refuted")


CONFIRMED, REFUTED, SMALLER, UNDECIDED, NOTHING = 50.0, -50.0, 0.5, None, math.nan


@pytest.mark.parametrize(
    ("combine", "means", "outcome"),
    [
        ("all", [CONFIRMED] * 3, "confirmed"),
        ("all", [CONFIRMED, CONFIRMED, NOTHING], "confirmed"),
        ("all", [CONFIRMED, CONFIRMED, UNDECIDED], "undecided"),
        ("all", [CONFIRMED, CONFIRMED, REFUTED], "confirmed in part"),
        ("all", [CONFIRMED, UNDECIDED, REFUTED], "confirmed in part"),
        ("all", [CONFIRMED, SMALLER, NOTHING], "confirmed in part"),
        ("all", [REFUTED, UNDECIDED, SMALLER], "refuted"),
        ("all", [SMALLER] * 3, "smaller than claimed"),
        ("all", [SMALLER, UNDECIDED, NOTHING], "undecided"),
        ("all", [NOTHING] * 3, "not comparable"),
        ("any", [REFUTED, UNDECIDED, CONFIRMED], "confirmed"),
        ("any", [REFUTED, SMALLER, UNDECIDED], "undecided"),
        ("any", [REFUTED, SMALLER, NOTHING], "smaller than claimed"),
        ("any", [REFUTED] * 3, "refuted"),
        ("any", [REFUTED, REFUTED, NOTHING], "refuted"),
        ("any", [NOTHING] * 3, "not comparable"),
    ],
)
def test_the_outcome_of_a_claim_follows_from_its_cells(combine, means, outcome):
    by_act = dict(zip(ACTS["act"], means, strict=True))

    def effect(arm, point, seed):
        mean = by_act[point["act"]]
        return (arm == "bn") * (1.0 + (-1) ** seed if mean is None else mean + 0.01 * (-1) ** seed)

    of = claim(condition(), axes=ACTS, combine=combine)
    names = {CONFIRMED: "confirmed", REFUTED: "refuted", SMALLER: "smaller than claimed", UNDECIDED: "undecided"}
    judgement, _ = settle(of, exactly(effect))
    assert outcomes(judgement)[0] == [names.get(mean, "not comparable") for mean in means]
    assert judgement.outcome == outcome


def test_a_part_that_is_picked_after_the_fact_needs_a_correction():
    """One of 24 cells that is just confirmed is what chance gives: the claim is refuted, not confirmed in part."""
    acts = {"act": tuple(f"act{i}" for i in range(24))}

    def effect(arm, point, seed):
        just = point["act"] == "act0"
        return (arm == "bn") * (2.0 + 0.9 * (seed - 3) / 1.5811 if just else -50.0 + 0.01 * seed)

    judgement = judge(claim(condition(), axes=acts, seeds=5), exactly(effect))
    assert outcomes(judgement)[0] == ["confirmed"] + ["refuted"] * 23
    assert judgement.outcome == "refuted"


def test_a_claim_whose_requirement_does_not_hold_is_not_comparable_there():
    learns = condition(
        what="none learns", measure=Measure(tag="val/loss"), comparison="value", arms=("none",), confirm=0.5
    )
    of = claim(condition(), axes=ACTS, requires=(learns,))

    def measured(measure, arm, point, seed):
        if measure.tag == "val/loss":
            return (0.1 if point["act"] == "tanh" else 0.9 if seed > 1 or point["act"] == "relu" else math.nan,) * 2
        return ((arm == "bn") * 50.0 + 0.01 * seed,) * 2

    judgement, rounds = settle(of, measured)
    assert outcomes(judgement) == [["confirmed", "not comparable", "confirmed"]]  # gelu lacks one seed of five
    assert "none learns" in judgement.conditions[0].cells[1].note
    assert judgement.outcome == "confirmed"
    assert seeds_of([run for runs in rounds for run in runs]) == [1, 2, 3, 4, 5]


def test_a_requirement_concerns_the_cells_that_contrast_it():
    learns = condition(comparison="value", arms=("none",), measure=Measure(tag="val/loss"), confirm=0.5)
    of = claim(condition(contrast=("act", "relu", "gelu")), axes=ACTS, requires=(learns,))
    for bad, outcome in (("gelu", "not comparable"), ("tanh", "confirmed")):

        def measured(measure, arm, point, seed, bad=bad):
            if measure.tag == "val/loss":
                return (float(point["act"] != bad),) * 2
            return ((arm == "bn") * (point["act"] == "relu") * 50.0 + 0.01 * seed,) * 2

        assert judge(of, measured).outcome == outcome


def test_one_of_five_seeds_may_be_missing_and_two_may_not():
    def measured(missing):
        return exactly(
            lambda arm, point, seed: math.nan if seed in missing and arm == "bn" else 50.0 * (arm == "bn") + 0.01 * seed
        )

    one = judge(claim(condition()), measured({2})).conditions[0].cells[0]
    assert (one.outcome, one.n) == ("confirmed", 4)
    assert "bn" in one.note
    two = judge(claim(condition()), measured({2, 4}))
    assert two.outcome == "not comparable"


@pytest.mark.parametrize(
    ("arms", "note"),
    [
        (("bn", "none"), "no share: the value of none is not surely above or below 0"),
        (("bn", "none", "none", "bn"), "no share: none minus bn is not surely above 0"),
    ],
)
def test_a_share_without_a_sure_denominator_says_why_it_is_not_comparable(arms, note):
    measured = exactly(lambda arm, _, seed: (-1.0) ** seed if arm == "none" else 0.0)
    (cell,) = judge(claim(condition(comparison="share", arms=arms)), measured).conditions[0].cells
    assert (cell.outcome, cell.note) == ("not comparable", note)


def test_censored_effects_need_the_second_look():
    """Five bounds beyond the line are .031 by the sign test, eight are .004."""
    of = claim(condition(measure=STEPS, comparison="ratio", arms=("none", "bn"), confirm=2.0, refute=1.1))

    def measured(measure, arm, point, seed):
        return (1000.0, math.inf) if arm == "none" else (40.0 + seed, 50.0 + seed)

    judgement, rounds = settle(of, measured)
    assert [seeds_of(runs) for runs in rounds] == [[1, 2, 3, 4, 5], [6, 7, 8]]
    cell = judgement.conditions[0].cells[0]
    assert (cell.outcome, cell.bound, cell.n) == ("confirmed", ">", 8)
    assert cell.high is None
    assert cell.low == pytest.approx(1000 / 58)
    assert cell.censored["none"] == [">"] * 8
    assert cell.values == {"none": [1000.0] * 8, "bn": [50.0 + seed for seed in range(1, 9)]}
    swapped = claim(condition(measure=STEPS, comparison="ratio", arms=("bn", "none"), confirm=2.0, refute=1.1))
    judgement, _ = settle(swapped, measured)
    assert (judgement.outcome, judgement.conditions[0].cells[0].bound) == ("refuted", "<")


def test_nothing_is_known_where_both_arms_never_get_there():
    of = claim(condition(measure=STEPS, comparison="ratio", arms=("none", "bn"), confirm=2.0, refute=1.1))
    judgement, rounds = settle(of, lambda *_: (1000.0, math.inf))
    cell = judgement.conditions[0].cells[0]
    assert (judgement.outcome, cell.bound, cell.effect, cell.seeds_needed) == ("undecided", "?", None, None)
    assert len(rounds) == 4


def test_exact_claims_need_each_seed_on_the_same_side():
    exact = claim(condition(comparison="each", arms=(), direction="<=", confirm=1.0, refute=1.0), arms=())
    exact = type(exact)(**{**vars(exact), "kind": "exact", "sweep": None})
    assert exact.looks == (20,)

    def outcome(number):
        return judge(exact, lambda measure, arm, point, seed: (number(seed),) * 2).outcome

    assert outcome(lambda seed: 0.9) == "confirmed"
    assert outcome(lambda seed: 1.0) == "confirmed"
    assert outcome(lambda seed: 1.1) == "refuted"
    assert outcome(lambda seed: 0.9 + 0.2 * (seed == 20)) == "undecided"
    assert outcome(lambda seed: math.nan) == "not comparable"


@pytest.mark.parametrize("numbers", [(0.9, 1.0, 1.1), (0.7, 1.0, 1.1), (0.9, 1.0, 1.3)])
def test_an_exact_claim_shows_its_worst_number(numbers):
    rule = condition(comparison="each", arms=(), direction="within", center=1.0, confirm=0.2, refute=0.2)
    exact = type(claim(rule))(**{**vars(claim(rule, seeds=3)), "kind": "exact", "sweep": None})
    judgement = judge(exact, lambda measure, arm, point, seed: (numbers[seed - 1],) * 2)
    assert judgement.conditions[0].cells[0].effect in (max(numbers, key=lambda x: abs(x - 1)), 0.9)


def test_cells_are_the_values_of_the_axes_that_remain():
    axes = {"act": ("relu", "tanh"), "depth": (3, 10), "lr": RATES}
    of = claim(condition(over="lr", where={"depth": (10,)}), condition(contrast=("depth", 10, 3), over="lr"), axes=axes)
    assert list(cells(of.rule[0], of)) == [{"act": a, "depth": 10} for a in ("relu", "tanh")]
    assert list(cells(of.rule[1], of)) == [{"act": a} for a in ("relu", "tanh")]


def test_the_effect_lies_between_its_bounds_and_ratios_are_factors():
    of = claim(condition(comparison="ratio", confirm=3.0, refute=1.1), seeds=5)
    judgement = judge(of, exactly(lambda arm, point, seed: (4.0 if arm == "bn" else 1.0) * 1.01**seed))
    cell = judgement.conditions[0].cells[0]
    assert cell.low == cell.effect == cell.high == pytest.approx(4.0)
    noise = np.random.default_rng(0).normal(size=6)
    judgement = judge(of, exactly(lambda arm, point, seed: math.exp(noise[seed]) * (arm == "bn") + (arm != "bn")))
    cell = judgement.conditions[0].cells[0]
    assert cell.low < cell.effect < cell.high
    assert cell.effect == pytest.approx(math.exp(noise[1:].mean()))
