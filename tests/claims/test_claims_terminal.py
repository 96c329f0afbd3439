"""What the terminal shows of claims: at 80 columns, without colors, in any encoding, and whatever their texts hold."""

from dataclasses import replace

import pytest

from normexp.claims import facts, terminal, wording
from normexp.claims import headline as headlines
from normexp.claims.grade import grade
from normexp.claims.judge import Judgement
from normexp.claims.verdict import OUTCOMES, Verdict
from tests.claims.verdicts import a_cell, a_claim, a_condition, a_verdict, an_exact, printed, thirty_cells


def words_of(lines, name):
    """The columns of a claim's line."""
    (line,) = (line for line in lines if line.split(" ")[0] == name)
    return [part.strip() for part in line.split("  ") if part.strip()]


@pytest.mark.parametrize("width", [80, 140])
def test_the_list_has_a_line_and_a_headline_for_each_claim_by_group(width):
    cells = [a_cell(verdict=outcome, cell={"lr": i}) for i, outcome in enumerate(("confirmed", "refuted", "undecided"))]
    rows = [
        (a_claim("axes", "exact", group="architecture", sweep=None), an_exact("axes", group="architecture")),
        (a_claim(), None),
        (
            a_claim("position"),
            a_verdict("position", "undecided", quick=True, grade="C", conditions=[a_condition(*cells)]),
        ),
        (
            a_claim("sigmoid-depth", group="stability"),
            a_verdict("sigmoid-depth", "refuted", group="stability", scale="full"),
        ),
        (a_claim("vanishing"), headlines.outdated(Verdict.from_json(a_verdict("vanishing", exploratory=True)))),
    ]
    text = printed(terminal.show, rows, width=width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0].split() == ["claim", "verdict", "grade", "seeds", "cells", "or", "cost"]
    assert words_of(lines, "axes") == ["axes", "confirmed", "exact", "3", "✓"]
    assert words_of(lines, "faster") == ["faster", "not judged", "3 minutes"]
    assert words_of(lines, "position") == ["position", "undecided", "C", "5", "✓✗?"]
    flat = " ".join(text.split())
    assert "bn gains +24.1 points [20.3, 27.9]. (full scale)" in flat
    assert "bn gains +24.1 points [20.3, 27.9]. (exploratory, outdated)" in flat
    assert "Batch norm makes training converge in fewer steps, whatever the activation" in flat  # what is not judged
    places = [lines.index(head) for head in ("Speed", "Stability", "Architecture")]
    assert places == sorted(places)
    assert places[0] < lines.index(next(line for line in lines if line.startswith("vanishing"))) < places[1]
    assert "✓ confirmed ✗ refuted ? undecided" in flat


def test_what_outdated_verdicts_need_is_said_once_in_the_list_and_with_each():
    reason = "Outdated. Only the code that judges has changed: run again."
    verdicts = [a_verdict(name, because=f"{reason} Old words.") for name in ("faster", "position")]
    assert printed(terminal.show, [(None, verdict) for verdict in verdicts]).count(reason) == 1
    assert f"{reason} bn gains +24.1" in printed(terminal.evidence, verdicts[0]).replace("\n", " ")


def test_a_terminal_without_unicode_gets_other_signs():
    cells = [a_cell(verdict="confirmed"), a_cell(verdict="refuted")]
    verdict = a_verdict("mine", "confirmed in part", conditions=[a_condition(*cells)])
    text = printed(terminal.summary, [verdict], encoding="ascii") + printed(
        terminal.evidence, verdict, encoding="ascii"
    )
    assert "+x" in text
    assert "+ confirmed  x refuted" in text
    assert "?" not in text


def test_the_summary_counts_outcomes_and_the_false_verdicts_to_expect():
    verdicts = [
        a_verdict(),
        a_verdict("position", "undecided", quick=True, conditions=[a_condition(*thirty_cells())]),
        a_verdict("affine", "not comparable", conditions=[a_condition(a_cell(None, verdict="not comparable"))]),
        an_exact("inference-statistics"),
    ]
    text = printed(terminal.summary, verdicts)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert words_of(lines, "faster") == ["faster", "confirmed", "A", "5", "✓"]
    assert "  the formula agrees with torch's layer to within 2.1e-15." in text.lower()
    assert "4 claims: 2 confirmed, 1 undecided, 1 not comparable." in lines
    assert "Expect at most one false verdict among 1 decided experiment" in " ".join(lines)
    assert "1 quick verdict: a smoke test, not evidence." in lines
    assert "A  the rule is older than its seeds" in text


@pytest.mark.parametrize("color", [True, False])
def test_verdicts_are_words_and_colors_only_repeat_them(color):
    text = printed(terminal.summary, [a_verdict("a", word) for word in OUTCOMES], color=color)
    assert all(word in text for word in OUTCOMES)
    assert ("\x1b[3" in text) == color


def test_the_paragraphs_of_a_text_are_apart():
    lines = printed(terminal.evidence, a_verdict(explanation="First\npart.\n\nSecond part.")).splitlines()
    start = lines.index("First part.")
    assert lines[start - 1 : start + 4] == ["", "First part.", "", "Second part.", ""]


def test_the_evidence_for_a_claim():
    looks = [{"n": 5, "effect": 0.02, "low": -0.01, "high": 0.05}, {"n": 8, "effect": 0.02, "low": 0.0, "high": 0.04}]
    open_ = {"looks": looks, "seeds_needed": 15.0, "n": 8}
    cells = [
        a_cell(cell={"activation": "relu"}),
        a_cell(0.02, 0.0, 0.04, verdict="undecided", cell={"activation": "tanh"}, **open_),
        a_cell(None, None, None, verdict="not comparable", cell={"activation": "sigmoid"}, note="none never learned"),
    ]
    conditions = [a_condition(*cells), a_condition(decides=False)]
    lacks = ["the learning rate is not tuned"]
    verdict = a_verdict(conditions=conditions, folder="runs/" + 90 * "x", grade="B", lacks=lacks, exploratory=True)
    lines = printed(terminal.evidence, verdict).splitlines()
    assert "confirmed, MNIST  ✓?-" in lines
    assert "  relu: confirmed, +24.1 points [20.3, 27.9], 5 seeds" in lines
    assert "      same sign in a new seed: 86 %" in lines
    assert "      bn (lr=0.3): 95.1 94.8 95.5" in lines
    assert "      5 seeds: +2.0 points [-1.0, 5.0]" in lines
    assert "      about 15 seeds would probably decide" in lines
    assert "      none never learned" in lines
    assert "Grade B: the learning rate is not tuned." in lines
    flat = " ".join(" ".join(lines).split())
    rule = (
        "difference in test accuracy, bn - none: at least 3 points confirms, at most 1 point refutes; 96.6 % intervals"
    )
    assert rule in flat
    assert "Exploratory: the rule changed" in flat
    assert "doesn't count toward the verdict" in flat
    assert "arms     none, bn" in lines
    assert "all runs model=mlp steps=400" in lines
    assert "seeds    501 to 505" in lines
    assert "folder   runs/" + 90 * "x" in lines  # as it is: there to be copied
    assert "rerun    normexp claims run faster" in lines


@pytest.mark.parametrize(
    ("folder", "lacks", "more"),
    [
        ("runs/claims/runs-ab12", [], ""),
        ("/data/my runs/claims/runs-ab12", [], " 'runs_dir=/data/my runs'"),
        ("runs/claims/runs-ab12", ["unverified"], " data.verify=false"),
        (None, [], ""),
    ],
)
def test_the_command_that_repeats_a_verdict_finds_its_runs(folder, lacks, more):
    judgement = Judgement("confirmed", [], [], 5)
    if lacks:
        _, lacks = grade(a_claim(), judgement, exploratory=False, unverified=True)
    verdict = Verdict.from_json(
        a_verdict(folder=folder, lacks=lacks, command="normexp claims run faster --config-dir mine")
    )
    assert facts.rerun_command(verdict) == f"normexp claims run faster --config-dir mine{more}"


def test_the_evidence_has_a_plot_between_both_lines():
    cells = [
        a_cell(cell={"activation": "relu"}),
        a_cell(0.0, None, 0.02, verdict="refuted", cell={"activation": "tanh"}),
    ]
    lines = printed(terminal.evidence, a_verdict(conditions=[a_condition(*cells)])).splitlines()
    first, second = (next(line for line in lines if line.startswith(f"  {name} ")) for name in ("relu", "tanh"))
    assert first.index("┊") < first.index("│") < first.index("●")
    assert second.index("◀") < second.index("●") < second.index("┊")
    assert any(
        line.startswith("  │ confirms  ┊ refutes") for line in lines
    )  # not on the axis, where it would be a label
    narrow = printed(terminal.evidence, a_verdict(), width=30)
    assert "┊" not in narrow


def test_the_evidence_for_an_exact_claim():
    lines = printed(terminal.evidence, an_exact()).splitlines()
    (row,) = (line.split("  ") for line in lines if line.startswith("largest difference from torch's "))
    assert [part.strip() for part in row if part][1:] == ["confirmed", "2.1e-15 [8e-16, 2.1e-15]", "<= 1e-12"]
    assert "1.2247" in next(line for line in lines if "1.2247" in line or "<= 1e-12" in line)  # the rule comes last
    table = [line.split() for line in lines if "normalized" in line or "1.2247" in line]
    assert table == [["value", "normalized"], ["0.5", "1.2247"]]
    assert lines[lines.index("  B") : lines.index("  B") + 3] == ["  B", " +--+", " |  | C"]


def test_the_rule_before_anything_is_run():
    text = printed(terminal.rule, a_claim())
    flat = " ".join(text.split())
    assert "difference in test accuracy at each arm's best lr, bn - none: at least 3 points confirms" in flat
    assert "lr         0.1, 1" in text
    assert "seeds      501 to 520, judged after 5, 8, 12, 20" in text
    assert (
        "runs 44, 24 of them to choose values; cells that stay undecided get more seeds, up to 20 cost 3 minutes"
        in flat
    )


@pytest.mark.parametrize(
    ("combine", "decides", "words"),
    [
        ("all", [True, True], "all must hold"),
        ("any", [True, True], "at least one must hold"),
        ("all", [True, True, False], "2 count toward the verdict and must hold"),
        ("any", [True, True, False], "2 count toward the verdict, at least one must hold"),
        ("any", [True, False], "1 counts toward the verdict and must hold"),
    ],
)
def test_how_conditions_combine(combine, decides, words):
    verdict = a_verdict(combine=combine, conditions=[a_condition(decides=decides_too) for decides_too in decides])
    text = printed(terminal.evidence, verdict, width=200)
    assert f"{len(decides)} conditions; {words}\n" in text
    assert text.count("doesn't count toward the verdict") == decides.count(False)


def test_background_and_what_would_change_the_verdict_surround_the_explanation():
    texts = {"background": "First this.", "explanation": "Then that.", "would_change": "A larger eps."}
    want = "First this.\n\nThen that.\n\nWhat would change the verdict: A larger eps.\n"
    assert want in printed(terminal.evidence, a_verdict(**texts))
    assert want in printed(terminal.rule, a_claim(**texts))


def test_texts_from_files_command_nothing():
    evil = "\x1b[31m[red]x[/red]\n\r" + "very " * 30
    cell = a_cell(cell={evil: evil}, note=evil, values={evil: [None]}, censored={evil: [evil]}, bound=evil)
    texts = ("statement", "source", "because", "background", "explanation", "would_change", "data")
    texts += ("command", "folder", "made", "rule", "code", "grade")
    verdict = a_verdict(
        **dict.fromkeys(texts, evil),
        conditions=[a_condition(cell, what=evil, says=evil + "{effect}", arms=[evil])],
        tables=[{"title": evil, "columns": [evil], "rows": [[evil], [None]]}],
        drawing=evil,
        versions={evil: evil},
        setup={"data": evil, evil: evil},
        lacks=[evil],
    )
    claim = a_claim(statement=evil, cost=evil, source=evil, background=evil, explanation=evil, would_change=evil)
    for function, value in (
        (terminal.show, [(claim, verdict)]),
        (terminal.summary, [verdict]),
        (terminal.evidence, verdict),
        (terminal.rule, claim),
    ):
        text = printed(function, value)
        assert "\x1b" not in text
        assert "\r" not in text
        assert "[red]x[/red]" in text


def test_numbers_that_are_not_there():
    bare = dict.fromkeys(a_verdict()) | {"format": 2, "claim": "bare", "verdict": "undecided"}
    bare["conditions"] = [a_condition(dict.fromkeys(a_cell()))]
    assert "bare" in printed(terminal.summary, [bare, a_verdict(conditions=[])])
    assert "not comparable, -, 0 seeds" in printed(terminal.evidence, bare)
    assert printed(terminal.summary, []) == "0 claims.\n"


@pytest.mark.parametrize("name", ["unit-moments", "fold", "scale-law", "dropout-scale"])
def test_numbers_of_wide_tables_are_not_split_at_80_columns(name):
    from normexp.claims.exact import EXACT

    tables = EXACT[name].compute(201).tables
    verdict = replace(Verdict.from_json(an_exact(name)), tables=tables)
    words = printed(terminal.evidence, verdict).split()
    for value in (value for table in tables for row in table.rows for value in row if not isinstance(value, str)):
        assert {wording.format_table_value(value, digits=digits) for digits in (6, 3)} & set(words)
