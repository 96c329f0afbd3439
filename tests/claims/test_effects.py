"""Effects of cells against plain numpy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from normexp.claims.effects import Effects, reduce_axis
from normexp.claims.grid import grid_step
from normexp.claims.schema import Measure
from tests.claims.making import RATES, SEEDS, compute, condition, exactly


def table(seed=0, spread=0.1, **means):
    """Results of each arm and seed, and as (arm, seeds) for the reference."""
    rng = np.random.default_rng(seed)
    values = {arm: mean + spread * rng.standard_normal(len(SEEDS)) for arm, mean in means.items()}
    return exactly(lambda arm, point, seed: values[arm][seed - 1]), values


def test_differences_ratios_and_values_are_taken_seed_by_seed():
    measured, values = table(bn=3.0, none=1.0)
    difference, missing = compute(condition(), measured)
    assert difference.low == pytest.approx(values["bn"] - values["none"])
    assert (difference.low == difference.high).all()
    assert not missing
    ratio, _ = compute(condition(comparison="ratio"), measured)
    assert ratio.low == pytest.approx(np.log(values["bn"] / values["none"]))
    value, _ = compute(condition(comparison="value", arms=("none",)), measured)
    assert value.low == pytest.approx(values["none"])
    assert value.values.keys() == {"none"}


@pytest.mark.parametrize("arms", [("a", "b"), ("a", "b", "c", "d"), ("a", "b", "c", "b")])
def test_a_share_is_the_ratio_of_means_with_the_standard_error_of_the_delta_method(arms):
    measured, values = table(a=3.0, b=1.0, c=5.0, d=1.5)
    share, _ = compute(condition(comparison="share", arms=arms), measured, arms=tuple("abcd"))
    x, y = values["a"], values["b"]
    if len(arms) == 4:
        x, y = values["a"] - values["b"], values["c"] - values[arms[3]]
    assert share.low.mean() == pytest.approx(x.mean() / y.mean())
    # var(f) = grad f . cov(x, y) . grad f, with f = x / y
    gradient = np.array([1 / y.mean(), -x.mean() / y.mean() ** 2])
    assert share.low.var(ddof=1) == pytest.approx(gradient @ np.cov(x, y) @ gradient)


def test_a_share_of_nothing_is_not_defined():
    effect, _ = compute(condition(comparison="share"), exactly(lambda arm, *_: float(arm == "bn")))
    assert np.isnan(effect.low).all()


@pytest.mark.parametrize(
    ("gaps", "defined"),
    [((1.0, 1.2, 0.8, 1.1, 0.9), True), ((1.0, -1.2, 0.8, -1.1, 0.9), False), ((-1.0, -1.2, -0.8, -1.1, -0.9), False)],
)
def test_a_share_of_a_gap_that_may_be_none_is_not_defined(gaps, defined):
    """Fieller's interval is then unbounded; a gap on the other side has no share that confirms anything."""
    numbers = {"a": 0.5, "b": 0.0, "d": 0.0}
    measured = exactly(lambda arm, point, seed: gaps[seed - 1] if arm == "c" else numbers[arm])
    effect, _ = compute(condition(comparison="share", arms=tuple("abcd")), measured, arms=tuple("abcd"))
    assert np.isfinite(effect.low).all() == defined
    two, _ = compute(condition(comparison="share", arms=("a", "c")), measured, arms=tuple("abcd"))
    assert np.isfinite(two.low).all() == (abs(sum(gaps)) > 4)  # of two arms, both may be negative


def test_a_share_without_one_seed_is_that_of_the_others():
    measured, values = table(bn=3.0, none=1.0)
    values["none"][2] = math.nan
    effect, _ = compute(condition(comparison="share"), measured)
    others = [0, 1, 3, 4]
    assert np.isnan(effect.low).tolist() == [False, False, True, False, False]
    assert effect.low[others].mean() == pytest.approx(values["bn"][others].mean() / values["none"][others].mean())


def test_correlations_are_kendalls_over_arms_and_pooled_axes():
    loss, norms = Measure(tag="loss"), Measure(tag="norm")
    rule = condition(comparison="correlation", measure=loss, other=norms, pool=("depth",))
    rng, axes = np.random.default_rng(0), {"depth": (2, 4, 8), "act": ("relu", "tanh")}
    numbers = {}

    def measured(measure, arm, point, seed):
        return (numbers.setdefault((measure.tag, arm, point["depth"], point["act"], seed), round(rng.normal(), 1)),) * 2

    effect, _ = compute(rule, measured, {"act": "relu"}, axes=axes)
    for i, seed in enumerate(SEEDS):
        both = [
            [numbers[tag, arm, d, "relu", seed] for arm in rule.arms for d in (2, 4, 8)] for tag in ("loss", "norm")
        ]
        assert effect.low[i] == pytest.approx(stats.kendalltau(*both).statistic)
    assert len(effect.values) == 2 * 2 * 3


def test_a_correlation_with_a_constant_is_not_defined():
    rule = condition(comparison="correlation", other=Measure(tag="norm"), pool=("depth",))
    effect, _ = compute(
        rule, lambda m, arm, point, seed: (float(m.tag == "norm" and point["depth"]),) * 2, axes={"depth": (1, 2)}
    )
    assert np.isnan(effect.low).all()


def reduced(reduction, metric, axis=RATES, level=0.5):
    bounds = np.stack([np.array(metric, dtype=float)[:, None]] * 2)
    rule = condition(over="lr", reduction=reduction, working_level=level)
    return reduce_axis(rule, bounds, axis)[:, 0].tolist()


def test_decades_count_values_that_work_holes_allowed():
    grid = (0.01, 0.1, 1.0, 10.0)
    assert reduced("decades", [1, 0, 1, 1], grid) == [3, 3]
    assert reduced("decades", [0, 0, 0, 0], grid) == [0, 0]
    assert reduced("decades", [1, math.nan, 1, 0.5], grid) == [3, 3]
    assert np.isnan(reduced("decades", [math.nan] * 4, grid)).all()
    assert reduced("decades", [1, 1, 1], (0.1, 0.3, 1.0)) == pytest.approx([1.5, 1.5])


def test_the_largest_working_value_is_a_bound_at_the_ends_of_the_grid():
    assert reduced("largest", [1, 0, 0]) == [0.01, 0.01]
    assert reduced("largest", [0, 1, 0]) == [0.1, 0.1]
    assert reduced("largest", [1, 0, 1]) == [1.0, math.inf]
    assert reduced("largest", [0, 0, 0]) == [0.0, 0.01]
    assert reduced("largest", [0, 1, 0], (1.0, 0.1, 0.01)) == [0.1, 0.1]  # in any order
    assert np.isnan(reduced("largest", [math.nan] * 3)).all()


def test_slopes_and_plain_reductions():
    rng = np.random.default_rng(0)
    x, metric = np.array([2.0, 4, 8, 16]), rng.normal(size=(2, 4, 5))
    slope = reduce_axis(condition(reduction="slope", over="depth"), metric, tuple(x))
    for i in range(5):
        assert slope[0, i] == pytest.approx(np.polyfit(x, metric[0, :, i], 1)[0])
    for name in ("min", "max", "mean"):
        assert reduce_axis(condition(reduction=name, over="depth"), metric, tuple(x)) == pytest.approx(
            getattr(np, name)(metric, axis=1)
        )


def test_numbers_read_off_an_axis_are_known_up_to_what_lies_between_its_values():
    works = exactly(lambda arm, point, seed: float(point["lr"] <= (0.1 if arm == "bn" else 0.01)))
    level = {"over": "lr", "working_level": 0.5}
    ratio, _ = compute(condition(reduction="largest", comparison="ratio", **level), works, axes={"lr": RATES})
    assert (ratio.low[0], ratio.high[0]) == pytest.approx((0.0, 2 * math.log(10)), abs=1e-9)
    decades, _ = compute(condition(reduction="decades", **level), works, axes={"lr": RATES})
    assert (decades.low.tolist(), decades.high.tolist()) == ([-1.0] * 5, [3.0] * 5)
    assert grid_step((1.0, 0.1, 0.01, 1000.0)) == pytest.approx(5 / 3)
    value = condition(reduction="largest", comparison="value", arms=("bn",), **level)
    effect, _ = compute(value, works, axes={"lr": RATES})
    assert (effect.low[0], effect.high[0]) == pytest.approx((0.1, 1.0))
    assert effect.values["bn"].tolist() == [[0.1] * 5] * 2


@given(st.lists(st.tuples(st.floats(-2.9, -1.1), st.floats(-0.9, 1.9)), min_size=2, max_size=2))
def test_the_true_limits_are_within_the_bounds(limits):
    """Rates work between two limits, from 0.001 to 100 in decades, that may lie between the values of the axis."""
    by_arm = dict(zip(("bn", "none"), limits, strict=True))
    works = exactly(lambda arm, point, seed: float(by_arm[arm][0] <= math.log10(point["lr"]) <= by_arm[arm][1]))
    axes = {"lr": tuple(float(f"{digit}e{i}") for i in range(-3, 3) for digit in (1, 3))}
    level = {"over": "lr", "working_level": 0.5}
    (_, bn), (_, none) = limits
    ratio, _ = compute(condition(reduction="largest", comparison="ratio", **level), works, axes=axes)
    assert ratio.low[0] - 1e-9 <= math.log(10) * (bn - none) <= ratio.high[0] + 1e-9
    bn, none = (top - bottom for bottom, top in limits)
    difference, _ = compute(condition(reduction="decades", **level), works, axes=axes)
    assert (
        difference.low[0] - 0.1 <= bn - none <= difference.high[0] + 0.1
    )  # steps of 1 to 3 and of 3 to 10 count as the same
    value, _ = compute(condition(reduction="decades", comparison="value", arms=("bn",), **level), works, axes=axes)
    assert value.low[0] - 0.05 <= bn <= value.high[0] + 0.05


def test_what_works_may_be_the_best_of_another_axis():
    axes = {"lr": RATES, "std": (0.1, 1.0)}
    works = exactly(lambda arm, point, seed: float((point["std"], point["lr"]) == (0.1, 1.0)))
    rule = condition(over="std", reduction="decades", best_of="lr", working_level=0.5, comparison="value", arms=("bn",))
    effect, _ = compute(rule, works, axes=axes)
    assert ((effect.low + effect.high) / 2).tolist() == [1.0] * 5


def test_a_contrast_is_one_effect_minus_the_other():
    rng = np.random.default_rng(0)
    numbers = {(arm, d, s): rng.uniform(1, 2) for arm in ("bn", "none") for d in (3, 10) for s in SEEDS}
    measured = exactly(lambda arm, point, seed: numbers[arm, point["depth"], seed])
    for comparison in ("difference", "ratio"):
        rule = condition(comparison=comparison, contrast=("depth", 10, 3))
        effect, _ = compute(rule, measured, axes={"depth": (3, 10)})
        of = np.log if comparison == "ratio" else np.asarray
        bn, none = ([of([numbers[arm, d, s] for s in SEEDS]) for d in (10, 3)] for arm in ("bn", "none"))
        assert effect.low == pytest.approx((bn[0] - none[0]) - (bn[1] - none[1]))
        assert list(effect.values) == ["bn, depth=10", "none, depth=10", "bn, depth=3", "none, depth=3"]


def test_a_contrast_of_bounds_is_as_wide_as_both():
    bounds = {("bn", 10): (1, 2), ("none", 10): (10, 30), ("bn", 3): (2, 4), ("none", 3): (100, math.inf)}

    def measured(measure, arm, point, seed):
        return bounds[arm, point["depth"]]

    effect, _ = compute(condition(contrast=("depth", 10, 3)), measured, axes={"depth": (3, 10)})
    assert isinstance(effect, Effects)
    assert (effect.low[0], effect.high[0]) == ((1 - 30) - (4 - 100), math.inf)


def test_numbers_that_are_not_defined_are_missing_for_their_seed_alone():
    measured, values = table(bn=3.0, none=1.0)
    values["bn"][1] = math.nan
    values["none"][3] = -1.0
    effect, _ = compute(condition(comparison="ratio"), measured)
    assert np.isnan(effect.low).tolist() == np.isnan(effect.high).tolist() == [False, True, False, True, False]
    assert not np.isnan(compute(condition(), measured)[0].low[3])
