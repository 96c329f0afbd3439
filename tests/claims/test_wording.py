"""Sentences of verdicts: effects in their unit, the headline, what would decide, and verdicts at a glance."""

from dataclasses import replace

import pytest

from normexp.claims import fields, overview, wording
from normexp.claims import headline as headlines
from normexp.claims.schema import Measure
from normexp.claims.setup import describe_setup
from normexp.claims.verdict import OUTCOMES, Verdict
from tests.claims.verdicts import a_cell, a_claim, a_condition, a_verdict, an_exact, thirty_cells

RATIO = {"as": "ratio", "confirm": 3, "refute": 1.2}


def headline(*conditions, verdict="confirmed", **more):
    return headlines.headline(Verdict.from_json(a_verdict(verdict=verdict, conditions=list(conditions), **more)))


def mixed(axis="activation", **by_value):
    """A condition with a cell for each value: value=(outcome, effect)."""
    cells = [
        a_cell(effect, effect - 0.01, effect + 0.01, verdict=outcome, cell={axis: value})
        for value, (outcome, effect) in by_value.items()
    ]
    return a_condition(*cells)


@pytest.mark.parametrize(
    ("condition", "cell", "words"),
    [
        ({}, {}, "+24.1 points [20.3, 27.9]"),
        ({}, {"effect": -0.006, "low": -0.018, "high": 0.006}, "-0.6 points [-1.8, 0.6]"),
        ({"as": "value", "confirm": 0.9}, {"effect": 0.951, "low": 0.94, "high": 0.962}, "95.1 % [94.0, 96.2]"),
        ({"as": "share", "confirm": 0.25}, {"effect": 0.12, "low": 0.05, "high": 0.19}, "12 % [5, 19]"),
        ({"as": "ratio", "confirm": 2}, {"effect": 2.4, "low": 1.9, "high": 3.0}, "2.4 times [1.9, 3.0]"),
        (RATIO, {"effect": 10, "low": 3.01, "high": 31}, "10.00 times [3.01, 31.00]"),
        (RATIO, {"effect": 10.6, "low": 0.0, "high": None}, "11 times [0, inf]"),
        (RATIO, {"effect": 13.2, "low": 10.0, "high": None, "bound": ">"}, "more than 10 times"),
        (RATIO, {"effect": 10.6, "low": 0.0, "high": None, "bound": ">"}, "at least 11 times"),
        (RATIO, {"effect": 0.5, "low": 0.0, "high": 0.62, "bound": "<"}, "less than 0.62 times"),
        ({"take": "decades", "confirm": 0.5}, {"effect": 0.9, "low": 0.8, "high": 1}, "+0.90 decades [0.80, 1.00]"),
        ({"as": "value", "contrast": ["batch", 50, 2]}, {}, "+24.1 points [20.3, 27.9]"),
        ({"reaches": 0.9, "confirm": 100}, {"effect": 250, "low": 200, "high": 300}, "+250 steps [200, 300]"),
        ({"confirm": 1.5}, {"effect": 2.0, "low": 1.6, "high": 2.4, "values": {}}, "+2.00 [1.60, 2.40]"),
        ({"measure": "drift/mean"}, {"effect": 24.1, "low": 20.3, "high": 27.9}, "+24.1 [20.3, 27.9]"),
        ({"as": "each", "is": "<=", "confirm": 1e-12}, {"effect": 2.1e-15, "low": 2.1e-15, "high": 2.1e-15}, "2.1e-15"),
        ({}, {"effect": None, "low": None, "high": None}, "-"),
        ({}, {"low": None, "high": None}, "+24.1 points"),
        ({}, {"effect": 4e-5, "low": -3e-5, "high": 1.1e-4}, "0.00 points [0.00, 0.01]"),
    ],
)
def test_effects_in_their_unit_and_with_decimals_that_show_the_side_of_the_line(condition, cell, words):
    content = a_condition(a_cell(**{"values": {"bn": [0.9]}} | cell), **condition)
    (read,) = Verdict.from_json(a_verdict(conditions=[content])).conditions
    assert wording.format_effect(read, read.cells[0]) == words


@pytest.mark.parametrize(
    ("point", "label"),
    [
        ({}, ""),
        ({"activation": "relu", "model.depth": 8}, "relu depth 8"),
        ({"data.batch_size": 2}, "batch size 2"),
        ({"norm": "none"}, "norm none"),
        ({"affine": True, "size": "8"}, "affine true size 8"),
    ],
)
def test_a_word_labels_a_cell_alone_and_a_number_follows_its_axis(point, label):
    (cell,) = Verdict.from_json(a_verdict(conditions=[a_condition(a_cell(cell=point))])).conditions[0].cells
    assert wording.cell_label(cell) == label


def test_the_headline_says_what_holds_in_the_words_of_the_claim():
    assert headline(a_condition()) == "bn gains +24.1 points [20.3, 27.9]."
    assert headline(a_condition(says="")) == "bn's accuracy is above none's: +24.1 points [20.3, 27.9]."
    two = a_condition(a_cell(cell={"activation": "relu"}), a_cell(0.8, 0.7, 0.9, cell={"activation": "sigmoid"}))
    aside = a_condition(decides=False, says="nobody counts {effect}")
    assert headline(two, aside) == "relu: bn gains +24.1 points [20.3, 27.9]; sigmoid: +80 points [70, 90]."
    assert headline() == ""
    one = a_condition(a_cell(cell={"init.std": 3}), says="the network gains {effect}")
    assert headline(one) == "std 3: the network gains +24.1 points [20.3, 27.9]."
    assert headline(one | {"cells": [a_cell()]}) == "The network gains +24.1 points [20.3, 27.9]."


def test_the_headline_of_many_cells_is_their_range():
    cells = [a_cell(x / 100, x / 100 - 0.01, x / 100 + 0.01, cell={"lr": x}) for x in (5, 31, 20, 12)]
    assert headline(a_condition(*cells)) == "bn gains +5.0 to +31 points in 4 cells."


def test_the_headline_says_where_a_claim_holds_and_where_not():
    condition = mixed(sigmoid=("confirmed", 0.8), relu=("refuted", -0.02), tanh=("smaller than claimed", 0.02))
    assert headline(condition, verdict="confirmed in part") == (
        "Confirmed for sigmoid: bn gains +80.0 points [79.0, 81.0]; smaller than claimed for tanh: +2.0 points [1.0, 3.0]; "
        "refuted for relu: -2.0 points [-3.0, -1.0]."
    )
    holds, fails = mixed(relu=("confirmed", 0.2)), mixed(relu=("refuted", -0.2)) | {"says": "ln gains {effect}"}
    text = headline(holds, fails, verdict="confirmed in part")
    assert "Confirmed: relu: bn gains +20.0 points" in text
    assert "Refuted: relu: ln gains -20.0 points" in text


def test_what_holds_comes_first_also_where_the_rest_is_cut():
    fails = [
        mixed(relu=("refuted", -0.2)) | {"says": f"dropout {i} in the convolutions gains {{effect}}"} for i in range(5)
    ]
    text = headline(*fails, mixed(relu=("confirmed", 0.2)), verdict="confirmed in part")
    assert text.startswith("Confirmed: relu: bn gains +20 points. Refuted: relu: dropout 0 in")
    assert text.endswith(" more conditions.")


def test_what_explains_the_verdict_is_never_cut():
    holds = [
        mixed(relu=("confirmed", 0.2)) | {"says": f"dropout {i} in all the layers gains {{effect}}"} for i in range(4)
    ]
    for verdict, outcome in (("confirmed in part", "refuted"), ("undecided", "undecided")):
        text = headline(*holds, mixed(relu=(outcome, -0.02)), verdict=verdict)
        assert text.startswith("Confirmed: relu: dropout 0 in all the layers gains +20 points.")
        assert f" {outcome.capitalize()}: relu: bn gains -2.0 points. " in text
        assert text.endswith(" more conditions.")


def test_the_headline_of_a_confirmed_claim_names_what_is_reported_against_it():
    aside = mixed("init.std", **{"0.1": ("confirmed", 0.2), "10": ("refuted", -0.2)}) | {"decides": False}
    text = headline(a_condition(), aside)
    assert text == "bn gains +24.1 points [20.3, 27.9]. Not counted: refuted for std 10: bn gains -20 points."
    assert "Not counted" not in headline(a_condition(a_cell(verdict="refuted")), aside, verdict="refuted")


def test_looks_at_bounds_have_one_bound_and_no_interval():
    looks = [{"n": 5, "effect": 4.2, "low": 0.0, "high": None}, {"n": 8, "effect": 4.4, "low": 3.5, "high": None}]
    cell = a_cell(4.4, 3.5, None, bound=">", n=8, looks=looks)
    (condition,) = Verdict.from_json(a_verdict(conditions=[a_condition(cell, **RATIO)])).conditions
    assert wording.look_lines(condition, condition.cells[0]) == [
        "5 seeds: at least 4.2 times",
        "8 seeds: more than 3.5 times",
    ]


def test_cells_without_a_comparison_are_named_with_the_reason():
    condition = mixed(relu=("confirmed", 0.2), sigmoid=("not comparable", 0.1))
    condition["cells"][1] |= {"effect": None, "note": "requirement not met: none learns"}
    text = "Confirmed for relu: bn gains +20.0 points [19.0, 21.0]; not comparable for sigmoid: requirement not met: none learns."
    assert headline(condition) == text
    alone = a_condition(condition["cells"][1])
    assert headline(alone, verdict="not comparable").startswith("Not comparable (bn's accuracy is above none's): req")


def test_a_headline_gets_less_detailed_rather_than_longer_than_its_limit():
    cells = thirty_cells()
    text = headline(*(a_condition(*cells, says=f"condition {i} of the rule gains {{effect}}") for i in range(9)))
    assert len(text) <= headlines.MAX_LENGTH + 25
    assert text.endswith(" more conditions.")


@pytest.mark.parametrize(
    ("points", "some", "words"),
    [
        ([(a, d) for a in ("relu", "tanh", "sigmoid") for d in (3, 5)], [("sigmoid", 3), ("sigmoid", 5)], "sigmoid"),
        ([(a, d) for a in ("relu", "tanh") for d in (3, 5, 8)], [("relu", 3), ("relu", 5)], "relu, depth 3 and 5"),
        (
            [(a, d) for a in ("relu", "tanh", "gelu") for d in (3, 5, 8)],
            [("relu", 3), ("tanh", 5)],
            "relu depth 3 and tanh depth 5",
        ),
        ([("relu", d) for d in range(9)], [("relu", d) for d in range(5)], "5 of 9 cells"),
        ([("relu", 3)], [("relu", 3)], ""),
    ],
)
def test_some_cells_are_named_by_what_they_have_in_common(points, some, words):
    cells = [a_cell(cell={"activation": a, "model.depth": d}) for a, d in points]
    (condition,) = Verdict.from_json(a_verdict(conditions=[a_condition(*cells)])).conditions
    chosen = [cell for cell in condition.cells if tuple(cell.point.values()) in some]
    assert headlines.scope(chosen, condition.cells) == words


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ({"seeds_needed": 12.0}, "About 12 seeds would probably decide."),
        ({}, "More seeds would hardly help: the effect is too close to a line."),
        ({"seeds_needed": 5075.0}, "More seeds would hardly help: the effect is too close to a line."),
        ({"n": 1}, "One seed has no spread: list more in the file."),
        ({"bound": ">"}, "Longer runs or a wider range would decide values that are only bounds."),
        ({"verdict": "refuted"}, ""),
    ],
)
def test_what_would_decide_an_undecided_cell(cell, words):
    content = a_verdict(verdict="undecided", conditions=[a_condition(a_cell(**{"verdict": "undecided"} | cell))])
    verdict = Verdict.from_json(content)
    assert headlines.outlook(verdict) == words
    assert headlines.explain(verdict).endswith(words)
    assert headlines.brief(verdict).endswith(words)


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        (["undecided"] * 2, "the effects are too close"),
        (["undecided", "confirmed"], "1 undecided effect is too close"),
        (["undecided", "undecided", "refuted"], "2 undecided effects are too close"),
    ],
)
def test_which_effects_are_too_close_to_a_line(outcomes, words):
    cells = [a_cell(verdict=outcome, cell={"lr": i}) for i, outcome in enumerate(outcomes)]
    verdict = Verdict.from_json(a_verdict(verdict="undecided", conditions=[a_condition(*cells)]))
    assert headlines.outlook(verdict) == f"More seeds would hardly help: {words} to a line."


@pytest.mark.parametrize(
    ("needed", "more", "words"),
    [
        (31.0, {}, "more than the 20 that a claim can have. A claim of your own whose runs differ less"),
        (12.0, {"max_seeds": 5}, "more than the 5 allowed: list more in the file, or repeat without --max-seeds."),
        (12.0, {"quick": True}, "The full claim, without --quick, has more seeds"),
        (12.0, {"combine": "any", "verdict": "confirmed"}, ""),
    ],
)
def test_advice_on_seeds_can_be_followed(needed, more, words):
    cells = [a_cell(cell={"lr": 1}), a_cell(verdict="undecided", cell={"lr": 2}, seeds_needed=needed)]
    aside = a_condition(a_cell(verdict="undecided", seeds_needed=7.0), decides=False)
    verdict = Verdict.from_json(
        a_verdict(**{"verdict": "undecided", "conditions": [a_condition(*cells), aside]} | more)
    )
    assert words in headlines.outlook(verdict)
    assert bool(words) == bool(headlines.outlook(verdict))
    notes = [wording.cell_notes(verdict, *pair) for pair in verdict.cells]
    assert [len(of) for of in notes] == [
        0,
        more.get("combine") != "any",
        0,
    ]  # none for what is decided or only reported


@pytest.mark.parametrize(
    ("outcome", "outcomes", "tally", "strip"),
    [
        ("confirmed", ["confirmed"] * 3, "all 3 cells confirmed", "✓✓✓"),
        ("confirmed", ["not comparable", "confirmed"], "1 of 2 cells confirmed, 1 not comparable", "-✓"),
        ("confirmed in part", ["confirmed", "refuted", "confirmed"], "2 of 3 cells confirmed, 1 refuted", "✓✗✓"),
        ("undecided", ["undecided", "smaller than claimed"], "1 of 2 cells undecided, 1 smaller than claimed", "?~"),
        ("confirmed", ["confirmed"], "", "✓"),
    ],
)
def test_cells_are_counted_and_shown_as_a_strip(outcome, outcomes, tally, strip):
    cells = [a_cell(verdict=cell, cell={"lr": i}) for i, cell in enumerate(outcomes)]
    verdict = Verdict.from_json(a_verdict(verdict=outcome, conditions=[a_condition(*cells)]))
    assert headlines.tally(verdict) == tally
    assert overview.strip(verdict) == strip
    assert overview.strip(verdict, ascii_only=True).isascii()
    assert {line[0] for line in overview.legend([verdict]).split("  ")} == set(strip)


def test_signs_of_outcomes_differ_and_long_strips_are_counts():
    assert len(set(overview.SIGNS.values())) == len(OUTCOMES)
    assert len({sign.translate(overview.ASCII) for sign in overview.SIGNS.values()}) == len(OUTCOMES)
    both = [a_condition(a_cell(), a_cell()), a_condition(a_cell(verdict="refuted"))]
    assert overview.strip(Verdict.from_json(a_verdict(conditions=both))) == "✓✓ ✗"
    many = Verdict.from_json(a_verdict(conditions=[a_condition(*thirty_cells())]))
    counts = [int(part[1:]) for part in overview.strip(many).split()]
    assert sum(counts) == 30


def test_seeds_and_the_chance_of_the_same_sign_are_ranges_over_cells():
    cells = [a_cell(n=5, win=0.857), a_cell(n=12, win=0.071), a_cell(n=8, win=None)]
    verdict = Verdict.from_json(a_verdict(conditions=[a_condition(*cells)]))
    assert overview.seeds_label(verdict) == "5-12"
    assert overview.same_sign_label(overview.deciding_pairs(verdict)) == "86 to 93 %"
    small = Verdict.from_json(a_verdict(conditions=[a_condition(*cells, **{"is": "within"})]))
    assert overview.same_sign_label(overview.deciding_pairs(small)) == ""  # the sign of an effect near 0 means nothing


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (0, ""),
        (1, "one false verdict among 1 d"),
        (9, "one false verdict among the 9"),
        (41, "2 false verdicts among the 41"),
    ],
)
def test_the_number_of_false_verdicts_to_expect(n, words):
    rest = [a_verdict(verdict="undecided"), a_verdict(verdict="not comparable"), an_exact()]
    text = overview.expected_errors(list(map(Verdict.from_json, [a_verdict()] * n + rest)))
    assert words in text
    assert bool(text) == bool(n)


def test_exact_claims_say_which_part_holds():
    exact = an_exact()
    assert headlines.headline(Verdict.from_json(exact)) == "The formula agrees with torch's layer to within 2.1e-15."
    wrong = exact["conditions"][0] | {"says": "the misprint differs by {effect}"}
    wrong["cells"] = [wrong["cells"][0] | {"verdict": "refuted"}]
    part = Verdict.from_json(an_exact(verdict="confirmed in part", conditions=[wrong, *exact["conditions"] * 3]))
    text = (
        "Confirmed: the formula agrees with torch's layer to within 2.1e-15. Refuted: the misprint differs by 2.1e-15."
    )
    assert headlines.headline(part) == text


def test_what_an_experiment_trains():
    setup = describe_setup(a_claim())
    assert setup == {"data": "digits", "base": "data.train_size=500", "arms": "none, bn (norm=bn lr=1)"} | {
        "activation": "relu, tanh",
        "lr": "0.1, 1",
    }
    more = [("bn", (("activation", "relu"), ("lr", 10.0)), 501)]
    assert describe_setup(a_claim(), more)["lr"] == "0.1, 1, 10"
    twice = replace(a_claim().sweep, base=("data=cifar10", "steps=500", "steps=100"))
    assert describe_setup(a_claim(sweep=twice)).items() >= {"data": "CIFAR-10", "base": "steps=100"}.items()
    assert describe_setup(a_claim(kind="exact", sweep=None)) == {}
    often = replace(a_claim().sweep, base=("steps=500", "eval_every=25"))
    rule = (replace(a_claim().rule[0], measure=Measure(tag="val/accuracy", reaches=0.9)),)
    assert (
        describe_setup(a_claim(sweep=often, rule=rule))["base"] == "steps=500 eval_every=25"
    )  # what steps are counted in


def test_the_paragraphs_of_a_text_are_kept():
    assert fields.paragraphs("One\nline.\n\n  Two.\n", "explanation") == "One line.\n\nTwo."
    assert fields.text("One\nline.\n\n  Two.\n", "statement") == "One line. Two."  # it is a cell of a table
