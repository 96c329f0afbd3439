"""Cells and their combinations: what a claim's outcome is."""

import math

import numpy as np
import pytest
from scipy import stats

from normexp.claims.judge import cells, judge
from normexp.claims.schema import Measure
from tests.claims.making import ACTS, RATES, STEPS, claim, condition, exactly, outcomes, seeds_of, settle, spread


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
    measured = exactly(lambda arm, _, seed: (-1.0) ** seed if arm == "none" else math.nan if seed == 2 else 0.0)
    (cell,) = judge(claim(condition(comparison="share", arms=arms)), measured).conditions[0].cells
    assert (cell.outcome, cell.note) == ("not comparable", note)


def test_a_cell_that_becomes_not_comparable_has_no_effect_of_fewer_seeds():
    """The share's denominator is surely positive after 5 seeds, and not after 8."""
    measured = exactly(lambda arm, _, seed: 1.0 + 0.1 * (-1) ** seed - 7 * (seed == 6) if arm == "none" else 0.4)
    of = claim(condition(comparison="share", confirm=0.41, refute=0.3))
    first, second = (judge(of, measured, max_seeds=n).conditions[0].cells[0] for n in (5, 8))
    assert (first.outcome, first.effect) == ("undecided", pytest.approx(0.4, abs=0.05))
    assert (second.outcome, second.effect, second.low, second.looks) == ("not comparable", None, None, [])
    assert second.note == "no share: the value of none is not surely above or below 0"


@pytest.mark.parametrize(
    ("lines", "combine", "mean", "line", "tests"),
    [
        ({}, "all", -0.6, 0.0, 4),  # refuting is corrected for the number of cells
        ({}, "all", 1.6, 1.0, 1),
        ({}, "any", 1.6, 1.0, 4),
        ({"direction": "within", "refute": 1.5}, "all", 2.1, 1.5, 8),  # and for the two sides
    ],
)
def test_the_seeds_needed_decide_with_80_percent_whatever_is_corrected(lines, combine, mean, line, tests):
    """By simulated t tests with Bonferroni's correction, among four cells of which the others are decided."""
    far = 0.0 if lines else 50.0 if combine == "all" else -50.0
    means = {"a": mean, "b": far, "c": far, "d": far}
    of = claim(condition(**lines), axes={"act": tuple(means)}, combine=combine)
    cell = judge(of, spread(means) if not lines else close(means), max_seeds=8).conditions[0].cells[0]
    assert (cell.outcome, cell.n) == ("undecided", 8)
    draws = np.random.default_rng(0).normal(mean, 8 / math.sqrt(56), size=(20_000, int(cell.seeds_needed)))
    p = stats.ttest_1samp(draws, line, axis=-1, alternative="greater" if mean > line else "less").pvalue
    assert 0.77 < (p * tests < 0.017).mean() < 0.88


def close(means):
    """As spread, where only the first cell has a spread."""
    return exactly(lambda arm, p, seed: (arm == "bn") * (means[p["act"]] + (p["act"] == "a") * (-1) ** seed))


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
