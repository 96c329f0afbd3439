"""One-sided tests, corrections and planning against SciPy, brute force and simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from normexp.claims.decide import (
    Evidence,
    classify,
    confirming_range,
    holm,
    lower_bound,
    p_above,
    seeds_needed,
    unrefuted_range,
    weigh,
    win_probability,
    would_decide,
)
from normexp.claims.schema import Condition, Measure

numbers = st.floats(-100, 100).map(lambda x: round(x, 3))
samples = st.lists(numbers, min_size=2, max_size=20).map(np.array)
p_values = st.lists(st.one_of(st.floats(0, 0.1), st.floats(0, 1)), min_size=1, max_size=5).map(np.array)


def condition(direction=">=", confirm=1.0, refute=0.0, comparison="difference", center=0.0):
    return Condition(
        what="effect",
        measure=Measure(tag="val/accuracy"),
        comparison=comparison,
        direction=direction,
        center=center,
        confirm=confirm,
        refute=refute,
    )


@given(samples, numbers)
def test_p_values_are_those_of_one_sided_t_tests(values, line):
    assume(np.ptp(values) > 0)
    expected = stats.ttest_1samp(values, line, alternative="greater").pvalue
    assert float(p_above(values, line)) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@given(samples, numbers)
def test_censored_values_are_counted_by_a_sign_test(values, line):
    wins = int((values > line).sum())
    expected = stats.binomtest(wins, len(values), 0.5, alternative="greater").pvalue
    assert float(p_above(values, line, signs=True)) == pytest.approx(expected)
    censored = np.append(values, -math.inf)
    expected = stats.binomtest(wins, len(values) + 1, 0.5, alternative="greater").pvalue
    assert float(p_above(censored, line)) == pytest.approx(expected)


def test_several_cells_at_once_are_those_one_by_one():
    values = np.random.default_rng(0).normal(size=(3, 4, 8))
    values[0, 1, 2] = -math.inf
    together = p_above(values, 0.2, np.arange(12).reshape(3, 4) % 5 == 0)
    for i, j in itertools.product(range(3), range(4)):
        alone = p_above(values[i, j], 0.2, (4 * i + j) % 5 == 0)
        assert together[i, j] == pytest.approx(float(alone))


@given(samples, st.sampled_from([0.017, 0.05, 0.3]), st.booleans())
def test_the_lower_bound_is_the_largest_line_that_is_exceeded(values, level, signs):
    bound = lower_bound(values, level, signs=signs)
    if math.isinf(bound):
        assert float(p_above(values, values.min() - 1, signs)) >= level
        return
    step = 1e-6 * max(1.0, float(abs(values).max()))
    assert float(p_above(values, bound - step, signs)) < level
    assert float(p_above(values, bound + step, signs)) >= level


@given(samples, numbers, numbers)
def test_p_values_rise_with_the_line(values, line, other):
    low, high = sorted((line, other))
    for signs in (False, True):
        assert float(p_above(values, low, signs)) <= float(p_above(values, high, signs)) + 1e-12


def test_bounds_of_censored_values():
    values = np.array([-math.inf, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    assert lower_bound(values, 0.05) == 1.0  # 7 of 8 above: p = 9/256 = 0.035
    assert lower_bound(values, 0.017) == -math.inf
    assert lower_bound(np.full(5, -math.inf), 0.05) == -math.inf
    assert lower_bound(np.arange(5.0), 0.017, signs=True) == -math.inf  # 1/32 = 0.031
    assert lower_bound(np.arange(8.0), 0.017, signs=True) == 0.0  # 1/256


@pytest.mark.parametrize("scale", [1e-30, 1e-14, 1.0, 1e20])
def test_equal_values_are_certain_whatever_their_unit(scale):
    """Values that differ by rounding alone count as equal."""
    values = scale * np.array([0.1 + 0.2, 0.3, 0.3, 0.3, 0.3])
    assert (float(p_above(values, 0.2 * scale)), float(p_above(values, 0.4 * scale))) == (0.0, 1.0)
    assert lower_bound(values, 0.017) == pytest.approx(0.3 * scale)
    spread = scale * np.array([1.0, 2.0, 4.0])
    assert lower_bound(spread, 0.05) == pytest.approx(scale * lower_bound(spread / scale, 0.05))
    assert float(p_above(np.zeros(5), 0.0)) == 1.0


def test_a_single_seed_decides_nothing():
    assert float(p_above(np.array([5.0]), 0.0)) == 1.0
    assert float(p_above(np.array([5.0]), 0.0, True)) == 0.5
    assert lower_bound(np.array([5.0]), 0.05) == -math.inf
    assert seeds_needed(np.array([5.0]), np.array([5.0]), (0.0,), 0.05) == math.inf
    confirmed, refuted, smaller = classify(as_cells(weigh(condition(), np.array([5.0]), np.array([5.0]))), "all", 0.05)
    assert not (confirmed | refuted | smaller).any()


def as_cells(*evidence):
    return Evidence(*(np.array(part) for part in zip(*(vars(e).values() for e in evidence), strict=True)))


@given(samples, st.floats(0.1, 50), st.floats(-50, 50))
def test_the_same_within_a_margin_is_two_one_sided_tests(values, margin, center):
    assume(np.ptp(values) > 0)
    rule = condition("within", margin, 2 * margin, center=center)
    evidence = weigh(rule, values, values)

    def p(line, alternative):
        return stats.ttest_1samp(values, line, alternative=alternative).pvalue

    inside = max(p(center - margin, "greater"), p(center + margin, "less"))
    outside = min(1.0, 2 * min(p(center - 2 * margin, "less"), p(center + 2 * margin, "greater")))
    assert float(evidence.confirms) == pytest.approx(inside, rel=1e-4, abs=1e-9)
    assert float(evidence.refutes) == pytest.approx(outside, rel=1e-4, abs=1e-9)


@given(samples)
def test_the_two_directions_mirror_each_other(values):
    up, down = condition(">=", 2.0, 1.0), condition("<=", -2.0, -1.0)
    for part, other in zip(
        vars(weigh(up, values, values)).values(), vars(weigh(down, -values, -values)).values(), strict=True
    ):
        assert float(part) == pytest.approx(float(other))


def test_lines_of_ratios_are_logarithms_and_allow_for_rounding():
    low, high = confirming_range(condition(">=", 3.0, 1.2, "ratio"))
    assert low == pytest.approx(math.log(3))
    assert low < math.log(0.3) - math.log(0.1)
    assert high == math.inf
    assert unrefuted_range(condition("<=", 1.2, 3.0, "ratio"))[1] >= math.log(3)
    low, high = confirming_range(condition("within", 0.1, 0.3, center=0.3))
    assert low < 0.3 - 0.1 <= 0.1 + 0.1 < high + 1e-9
    for unit in (1e-14, 1.0, 1e14):
        at_the_line = np.full(5, (0.4 - 0.3) * unit)  # a little more than 0.1
        rule = condition("within", 0.1 * unit, 0.2 * unit)
        assert at_the_line[0] > rule.confirm
        assert float(weigh(rule, at_the_line, at_the_line).confirms) == 0.0
        assert float(weigh(rule, 1.001 * at_the_line, 1.001 * at_the_line).confirms) == 1.0


def closed_testing(p):
    """Adjusted p-values by the closed testing procedure with Bonferroni on every subset (Marcus et al. 1976)."""
    k = len(p)
    subsets = [s for size in range(1, k + 1) for s in itertools.combinations(range(k), size)]
    return [min(1.0, max(len(s) * min(p[i] for i in s) for s in subsets if j in s)) for j in range(k)]


@given(p_values)
def test_holm_is_the_closed_testing_procedure(p):
    assert holm(p) == pytest.approx(closed_testing(p))


@given(p_values, st.floats(0.001, 0.2))
def test_holm_rejects_as_in_the_paper(p, level):
    """Reject in ascending order as long as p(i) < level / (k - i + 1); stop at the first that isn't (Holm 1979)."""
    k, expected = len(p), np.zeros(len(p), dtype=bool)
    for i, index in enumerate(np.argsort(p, kind="stable")):
        if p[index] * (k - i) >= level:
            break
        expected[index] = True
    assert ((holm(p) < level) == expected).all()


def test_holm_of_many_families_at_once():
    p = np.random.default_rng(0).random((4, 3, 6)) ** 3
    assert holm(p)[2, 1] == pytest.approx(holm(p[2, 1]))


def test_only_one_direction_is_corrected_for_the_number_of_cells():
    p = np.array([0.01, 0.01, 0.5])
    ones = np.ones(3)
    confirms = Evidence(confirms=p, falls_short=ones, not_refuted=ones, refutes=ones)
    refutes = Evidence(confirms=ones, falls_short=ones, not_refuted=ones, refutes=p)
    smaller = Evidence(confirms=ones, falls_short=p, not_refuted=np.full(3, 0.01), refutes=ones)
    assert classify(confirms, "all", 0.017)[0].tolist() == [True, True, False]
    assert not classify(confirms, "any", 0.017)[0].any()
    assert not classify(refutes, "all", 0.017)[1].any()
    assert classify(refutes, "any", 0.017)[1].tolist() == [True, True, False]
    assert not classify(smaller, "all", 0.017)[2].any()
    assert not classify(smaller, "any", 0.017)[2].any()
    assert classify(smaller, "any", 0.05)[2].tolist() == [True, True, False]


@given(st.lists(samples, min_size=1, max_size=4), st.sampled_from(["all", "any"]), st.floats(-5, 5))
def test_a_cell_has_at_most_one_outcome(cells, combine, confirm):
    for direction, refute in ((">=", confirm - 1), ("<=", confirm + 1), ("within", abs(confirm) + 1)):
        rule = condition(direction, abs(confirm) if direction == "within" else confirm, refute)
        outcomes = classify(as_cells(*(weigh(rule, values, values) for values in cells)), combine, 0.05)
        assert (np.sum(outcomes, axis=0) <= 1).all()


@pytest.mark.parametrize("direction", [">=", "<="])
def test_censored_effects_count_as_far_as_their_bound_goes(direction):
    sign = 1.0 if direction == ">=" else -1.0
    rule = condition(direction, sign * 1.0, 0.0)

    def outcome(values, far):
        low, high = (values, far) if sign > 0 else (-far, -values)
        flags = classify(as_cells(weigh(rule, low, high)), "all", 0.017)
        return [name for name, flag in zip(("confirmed", "refuted", "smaller"), flags, strict=True) if flag.any()]

    values = np.linspace(2.0, 2.1, 8)
    assert outcome(values, np.full(8, math.inf)) == ["confirmed"]
    assert outcome(values[:5], np.full(5, math.inf)) == []  # a sign test of five: p = .031
    assert outcome(values[:5], np.append(values[:4], math.inf)) == ["confirmed"]
    assert outcome(values - 3, np.full(8, math.inf)) == []  # nothing is known above the bound
    assert outcome(np.full(8, -math.inf), values - 3) == ["refuted"]
    assert outcome(np.full(8, -math.inf), np.full(8, math.inf)) == []


@pytest.mark.parametrize("direction", [">=", "<=", "within"])
@given(values=st.lists(st.tuples(numbers | st.just(-math.inf), numbers | st.just(math.inf)), min_size=1, max_size=9))
def test_p_values_are_never_nan(direction, values):
    low, high = np.array([sorted(pair) for pair in values]).T
    lines = (1.0, 0.0) if direction == ">=" else (0.0, 1.0)
    for p in vars(weigh(condition(direction, *lines), low, high)).values():
        assert 0.0 <= float(p) <= 1.0


@pytest.mark.parametrize(("mean", "level"), [(2.0, 0.017), (1.5, 0.017), (1.8, 0.05)])
def test_the_number_of_seeds_needed_decides_with_a_probability_of_80_percent(mean, level):
    rng = np.random.default_rng(0)
    values = stats.zscore(np.arange(5.0), ddof=1) + mean  # mean and standard deviation as said
    n = int(seeds_needed(values, values, (1.0, 0.0), level))
    draws = rng.normal(mean, 1.0, size=(20_000, n))
    power = (p_above(draws, 1.0) < level).mean()
    assert 0.77 < power < 0.88


@pytest.mark.parametrize("distance", [0.1, 0.13, 0.17, -0.17])
def test_whether_n_seeds_would_decide_is_a_matter_of_power(distance):
    """By simulation: t tests of 400 seeds decide 80 % of cells whose mean is about .15 standard deviations beyond a line."""
    values = stats.zscore(np.arange(8.0), ddof=1) + distance
    draws = np.random.default_rng(0).normal(distance, 1.0, size=(20_000, 400))
    p = stats.ttest_1samp(draws, 0.0, axis=-1, alternative="greater" if distance > 0 else "less").pvalue
    power = (p < 0.017).mean()
    assert abs(power - 0.8) > 0.02
    assert would_decide(values, values, (0.0, -5.0), 0.017, 400) == (power > 0.8)


def test_seeds_needed_where_nothing_would_decide():
    values = np.array([0.9, 1.0, 1.1])
    assert seeds_needed(values, values, (1.0, 0.0), 0.017) == math.inf  # on the line
    assert (
        seeds_needed(values - 0.1, values + 0.2, (1.1, 0.0), 0.017) == math.inf
    )  # the lattice is as wide as the distance
    assert seeds_needed(values, np.full(3, math.inf), (0.5, 0.0), 0.017) == math.inf
    assert seeds_needed(values, values, (1.0 + 1e-9, 0.0), 0.017) == math.inf  # more than 10,000
    assert seeds_needed(np.full(5, 2.0), np.full(5, 2.0), (1.0, 0.0), 0.017) == 6  # more than there are


@given(samples)
def test_the_probability_of_winning_with_a_new_seed_is_that_of_a_prediction_interval(values):
    """The next value's distance from the mean, over s sqrt(1 + 1/n), has Student's t distribution; Laplace's rule bounds it."""
    assume(np.ptp(values) > 1e-6)
    n = len(values)
    p = stats.t.cdf(values.mean() / (values.std(ddof=1) * math.sqrt(1 + 1 / n)), n - 1)
    assert win_probability(values, values) == pytest.approx(np.clip(p, 1 / (n + 2), (n + 1) / (n + 2)))


def test_the_probability_of_winning_with_censored_and_equal_values():
    assert win_probability(np.full(5, 1.0), np.full(5, math.inf)) == pytest.approx(6 / 7)
    assert win_probability(np.full(5, -math.inf), np.array([1.0, 1, -1, -1, -1])) == pytest.approx(1 / 7)
    assert win_probability(np.array([3.0]), np.array([3.0])) == pytest.approx(2 / 3)
    assert win_probability(np.zeros(5), np.zeros(5)) == 0.5
    assert win_probability(np.full(5, 2.0), np.full(5, 2.0)) == pytest.approx(6 / 7)
