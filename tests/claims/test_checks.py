"""Conditions that could not be judged are refused, with a sentence that says what would work."""

import pytest

from normexp.claims.checks import check_condition, check_lines
from normexp.claims.schema import Measure
from normexp.config import ConfigError
from tests.claims.making import RATES, STEPS, claim, condition

TEST = Measure(tag="test/accuracy")
SWEEP = claim(
    arms=("bn", "none"), axes={"lr": RATES, "depth": (3, 10), "one": (1,), "zero": (0.0, 0.5), "empty": ("", 1)}
).sweep
WORKS = {"over": "lr", "working_level": 0.5}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            {"over": "lr", "reduction": "decades"},
            "working (the lowest measure at which a value works) and take: decades or",
        ),
        (
            {**WORKS, "reduction": "decades", "comparison": "ratio"},
            "can't be compared as: ratio; use difference or value",
        ),
        ({**WORKS, "reduction": "largest"}, "as: difference, since it may be unlimited; use ratio or value"),
        ({**WORKS, "reduction": "largest", "comparison": "share"}, "as: share, since it may be unlimited"),
        ({**WORKS, "reduction": "decades", "over": "zero"}, "needs an axis of positive numbers, but zero has 0.0"),
        ({**WORKS, "reduction": "decades", "over": "empty"}, "needs an axis of positive numbers, but empty has ''"),
        ({**WORKS, "reduction": "decades", "measure": TEST}, "would select on the test set"),
        ({"reduction": "slope"}, "take: slope needs an axis, given by over"),
        ({"reduction": "slope", "over": "one"}, "take: slope needs an axis of several numbers, but one has one"),
        ({"reduction": "gain", "over": "one"}, "take: gain needs an axis of several values, but one has one"),
        ({"multiple": 3.0}, "multiple (> 0) needs over, take: best and two arms"),
        ({"multiple": -3.0, "over": "lr"}, "multiple (> 0) needs over"),
        ({"multiple": 3.0, "over": "zero"}, "multiple needs an axis of positive numbers, but zero has 0.0"),
        ({"best_of": "lr"}, "best_of needs take: decades or largest"),
        ({"measure": STEPS, "comparison": "value", "arms": ("bn",)}, "needs as: ratio or difference"),
        ({"measure": STEPS, "over": "lr", "reduction": "mean"}, "reaches needs take: best, not mean"),
        (
            {"measure": Measure(tag="test/accuracy", reaches=0.9), "over": "lr", "choose_by": None},
            "reaches would select on the test set; use a validation measure, or no axis",
        ),
        ({"comparison": "correlation"}, "as: correlation needs 4 or more points"),
        ({"comparison": "correlation", "pool": ("depth",)}, "require each other"),
        ({"comparison": "correlation", "pool": ("depth",), "other": STEPS}, "needs as: ratio or difference"),
        ({"contrast": ("depth", 3, 4)}, "axis depth has no value 4; its values are 3, 10"),
        ({"over": "lr", "where": {"lr": (0.1,)}}, "must name different axes"),
        ({"measure": Measure(tag="val/acuracy")}, "unknown metric val/acuracy. Did you mean val/accuracy?"),
        ({"measure": Measure(tag="grad_flw/*")}, "unknown metric grad_flw/*. Did you mean grad_flow/*?"),
        ({"measure": Measure(tag="val/loss", below=("tran/loss", 1.0, None))}, "below: unknown metric tran/loss."),
        (
            {"measure": Measure(tag="val/accuracy", reaches=90.0)},
            "reaches=90.0: val/accuracy is a fraction; 90 % is 0.9",
        ),
        ({**WORKS, "working_level": 90.0, "reduction": "decades"}, "working=90.0: val/accuracy is a fraction"),
        ({"confirm": 3.0}, "confirm=3.0 can't be reached: val/accuracy as: difference lies between -1 and 1"),
        ({"confirm": 90.0, "arms": ("bn",), "comparison": "value"}, "as: value lies between 0 and 1"),
        ({"direction": "<=", "confirm": -3.0, "refute": 0.0}, "confirm=-3.0 can't be reached"),
        (
            {
                "direction": "within",
                "confirm": 0.5,
                "refute": 1.0,
                "center": 90.0,
                "arms": ("bn",),
                "comparison": "value",
            },
            "confirm=0.5 can't be reached",
        ),
    ],
)
def test_conditions_that_could_not_be_judged(fields, says):
    with pytest.raises(ConfigError) as error:
        check_condition(condition(**fields), SWEEP)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"over": "lr"},
        {**WORKS, "reduction": "decades"},
        {**WORKS, "reduction": "largest", "comparison": "ratio"},
        {**WORKS, "reduction": "largest", "comparison": "value", "arms": ("bn",)},
        {"measure": STEPS, "over": "lr", "choose_by": None, "comparison": "ratio"},
        {"measure": Measure(tag="test/accuracy", reaches=0.9), "comparison": "ratio"},
        {"comparison": "correlation", "pool": ("depth",), "other": TEST},
        {"multiple": 3.0, "over": "lr"},
        {"confirm": 1.5, "contrast": ("depth", 3, 10)},
        {"confirm": 3.0, "comparison": "ratio"},
        {"confirm": 3.0, "over": "lr", "reduction": "slope"},
        {"confirm": 3.0, "measure": Measure(tag="val/loss")},
        {"confirm": 90.0, "measure": STEPS},
        {"measure": Measure(tag="activation_in/*/mean")},
        {"measure": Measure(tag="*/accuracy")},
    ],
)
def test_conditions_that_can_be_judged(fields):
    check_condition(condition(**fields), SWEEP)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"confirm": 1.0, "refute": 1.0}, "is: >= needs refute < confirm"),
        ({"confirm": 1.0, "refute": 2.0}, "is: >= needs refute < confirm"),
        ({"direction": "<=", "confirm": 1.0, "refute": 0.0}, "is: <= needs refute > confirm"),
        ({"direction": "within", "confirm": -1.0, "refute": 2.0}, "0 <= confirm < refute"),
        ({"center": 1.0}, "center is only for is: within"),
        ({"comparison": "ratio", "confirm": 1.0, "refute": 0.0}, "the lines of a ratio must be > 0"),
        (
            {"comparison": "ratio", "direction": "within", "confirm": 0.1, "refute": 0.3},
            "a ratio needs a center > confirm, such as center: 1 for equal arms",
        ),
    ],
)
def test_lines_that_contradict_each_other(fields, says):
    with pytest.raises(ConfigError) as error:
        check_lines(condition(**fields), single=False)
    assert says in str(error.value)
