"""Rules in words: comparisons, lines that confirm and refute, and requirements with what was measured."""

import math

import pytest

from normexp.claims import rule_words
from normexp.claims.headline import reworded
from normexp.claims.requirements import requirements
from normexp.claims.schema import Condition, Measure
from normexp.claims.verdict import Verdict
from tests.claims.verdicts import a_cell, a_claim, a_condition, a_verdict


def read(**condition):
    (condition,) = Verdict.from_json(a_verdict(conditions=[a_condition(**condition)])).conditions
    return condition


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({}, "difference in test accuracy, bn - none"),
        ({"reaches": 0.9, "as": "ratio"}, "ratio of steps to 90 % test accuracy, bn / none"),
        ({"over": "lr", "take": "best"}, "difference in test accuracy at each arm's best lr, bn - none"),
        ({"over": "lr", "multiple": 30}, "difference in test accuracy, bn - none (bn at 30 times the best lr of none)"),
        (
            {"contrast": ["model.depth", 8, 3]},
            "difference in test accuracy, (bn - none) at depth 8 - (bn - none) at depth 3",
        ),
        ({"as": "value", "arms": ["bn"], "contrast": ["size", 64, 2]}, "test accuracy, bn at size 64 - bn at size 2"),
        ({"as": "share", "arms": list("abcd")}, "test accuracy, (a - b) as a share of (c - d)"),
        (
            {"as": "correlation", "other": "shift_cosine/*", "pool": ["activation", "model.depth"]},
            "Kendall's rank correlation between test accuracy and shift cosine over bn, none at each activation and depth, "
            "for each seed",
        ),
        ({"as": "value", "arms": ["bn"], "over": "lr", "take": "best"}, "test accuracy of bn at its best lr"),
        ({"as": "value", "arms": ["bn"], "over": "lr", "take": "max"}, "highest test accuracy over lr of bn"),
    ],
)
def test_comparisons_in_words(condition, words):
    (read,) = Verdict.from_json(a_verdict(conditions=[a_condition(**condition)])).conditions
    assert rule_words.describe_comparison(read) == words


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({}, "at least 3 points confirms, at most 1 point refutes"),
        ({"is": "<=", "confirm": 0.0, "refute": 0.02}, "at most 0 points confirms, at least 2 points refutes"),
        ({"as": "ratio", "confirm": 3, "refute": 1}, "at least 3 times confirms, at most 1 times refutes"),
        ({"is": "within", "confirm": 0.005, "refute": 0.01}, "within 0.5 points confirms, beyond 1 point refutes"),
        (
            {"as": "value", "is": "within", "center": 0.9, "confirm": 0.01, "refute": 0.02},
            "within 90 ± 1 % confirms, outside 90 ± 2 % refutes",
        ),
        (
            {"take": "decades", "confirm": 1.5, "refute": 0.2},
            "at least 1.5 decades confirms, at most 0.2 decades refutes",
        ),
    ],
)
def test_both_lines_in_words_with_their_unit(condition, words):
    assert f": {words}; 96.6 % intervals" in rule_words.describe_condition(read(**condition))


def test_how_an_effect_in_steps_follows_from_the_printed_numbers():
    text = rule_words.describe_condition(read(reaches=0.9, **{"as": "ratio"}))
    assert (
        "steps count as the geometric mean of the evaluation that gets there, printed below, and the one before" in text
    )
    assert "steps count as the mean of" in rule_words.describe_condition(read(reaches=0.9))


def a_requirement(**more):
    default = {"what": "bn learns", "measure": Measure(tag="val/accuracy"), "arms": ("bn",), "comparison": "value"}
    return Condition(**default | {"direction": ">=", "confirm": 0.8, "refute": 0.8} | more)


def test_requirements_have_their_line_and_what_was_measured():
    def measured(measure, arm, point, seed):
        number = {"relu": 0.75, "tanh": 0.6}[point["activation"]] + (0.2 if arm == "bn" and point["lr"] == 1 else 0.0)
        return (number, number)

    over = {"over": "lr", "reduction": "max"}
    twice = {"what": "twice", "arms": ("bn", "none"), "comparison": "ratio", "confirm": 1.0}
    claim = a_claim(
        requires=(a_requirement(**over), a_requirement(**over, confirm=0.9), a_requirement(**over, **twice))
    )
    first, second, ratio = map(rule_words.describe_requirement, requirements(claim, measured))
    assert first == "bn learns (highest val accuracy over lr of bn: at least 80 %); measured: 80 to 95 % in 2 cells"
    assert second.endswith("in 2 cells; not met for tanh")
    assert ratio.endswith("at least 1 times); measured: 1.3 times in 2 cells")
    undefined = requirements(claim, lambda *_: (math.nan, math.nan))[0]
    assert rule_words.describe_requirement(undefined).endswith("; not defined; not met for relu, tanh")


def test_a_fresh_verdict_gets_the_requirements_of_its_file():
    claim = a_claim(requires=(a_requirement(),))
    verdict = reworded(Verdict.from_json(a_verdict()), claim)
    assert list(map(rule_words.describe_requirement, verdict.requires)) == [
        "bn learns (val accuracy of bn: at least 80 %)"
    ]
    stored = a_verdict(requires=[a_condition(a_cell(0.95), what="old words", **{"as": "value"})])
    (kept,) = reworded(Verdict.from_json(stored), claim).requires
    assert (kept.what, kept.cells[0].effect) == ("bn learns", 0.95)
