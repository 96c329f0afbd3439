"""What the terminal shows of claims: at 80 columns, without colors, and whatever their texts hold."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from normexp.claims import headline as headlines
from normexp.claims import terminal, wording
from normexp.claims.schema import Claim, Condition, Measure, Sweep
from normexp.claims.verdict import Verdict
from tests.claims.test_claims_page import a_cell, a_condition, a_verdict, an_exact, thirty_cells


def a_claim(name="faster", kind="experiment", **more):
    made = {
        "statement": "Batch norm makes training converge in fewer steps, whatever the activation and the initialization.",
        "source": "Ioffe and Szegedy 2015",
        "explanation": "Why it is so.",
        "cost": "3 minutes",
        "seeds": (101, 102, 103),
        "sweep": Sweep(
            base=(), arms={"none": (), "bn": ()}, axes={"activation": {"relu": ()}, "lr": {0.1: (), 1.0: ()}}
        ),
        "rule": (
            Condition(
                what="bn above none",
                measure=Measure(tag="test/accuracy"),
                over="lr",
                arms=("bn", "none"),
                comparison="difference",
                direction=">=",
                threshold=0.03,
            ),
        ),
        "requires": (),
    }
    return Claim(name=name, kind=kind, **(made | more))


def typed(value):
    """Fixtures as what they stand for."""
    if isinstance(value, list | tuple):
        return type(value)(map(typed, value))
    return Verdict.from_json(value) if isinstance(value, dict) else value


def printed(function, *values, width=80, color=False):
    file = io.StringIO()
    colors = "standard" if color else None
    console = Console(file=file, width=width, highlight=False, emoji=False, force_terminal=color, color_system=colors)
    function(console, *map(typed, values))
    return file.getvalue()


def test_the_list_says_what_is_said_what_came_out_and_what_it_costs():
    rows = [
        (a_claim("axes", "exact", cost="under a second", sweep=None), an_exact("axes")),
        (a_claim(), None),
        (a_claim("position"), a_verdict("position", "inconclusive", quick=True)),
        (a_claim("sigmoid-depth"), a_verdict("sigmoid-depth", "refuted", scale="full")),
        (a_claim("vanishing"), headlines.outdated(Verdict.from_json(a_verdict("vanishing")))),
    ]
    text = printed(terminal.show, rows)
    assert max(map(len, text.splitlines())) <= 80
    words = [line.split("  ") for line in text.splitlines()]
    found = {line[0]: [part.strip() for part in line if part.strip()][1:] for line in words if line[0]}
    assert found["axes"] == ["confirmed", "under a second"]
    assert found["faster"] == ["not judged", "3 minutes"]
    assert found["position"] == ["inconclusive, quick", "3 minutes"]
    assert found["sigmoid-depth"] == ["refuted, full scale", "3 minutes"]
    assert found["vanishing"] == ["confirmed, small scale, outdated", "3 minutes"]
    assert text.index("Exact") < text.index("axes") < text.index("Experiments") < text.index("faster")


def test_a_line_a_claim_with_the_cell_that_decided():
    verdicts = [
        a_verdict(),
        a_verdict("position", "inconclusive", quick=True, conditions=[a_condition(*thirty_cells())]),
        a_verdict(
            "affine", "not comparable", conditions=[a_condition(a_cell(None, None, None, verdict="not comparable"))]
        ),
        an_exact("inference-statistics"),
    ]
    text = printed(terminal.summary, verdicts)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["claim", "verdict", "effect", "rule", "n"]
    assert lines[1].split("  ")[0] == "faster"
    for part in ("confirmed", "+24.1 points [20.3, 27.9]", ">= 3", " 3"):
        assert part in lines[1]
    assert "of 30 cells inconclusive, " in " ".join(text.split())
    (exact,) = (line for line in lines if line.startswith("inference-statistics"))
    assert "2.1e-15 [8e-16, 2.1e-15]" in exact
    assert "<= 1e-12" in exact
    assert "4 claims: 2 confirmed, 1 inconclusive, 1 not comparable." in lines
    assert "1 quick verdict: a smoke test, not evidence." in lines


@pytest.mark.parametrize("color", [True, False])
def test_verdicts_are_words_and_colors_only_repeat_them(color):
    text = printed(terminal.summary, [a_verdict("a", word) for word in terminal.COLORS], color=color)
    assert all(word in text for word in terminal.COLORS)
    assert ("\x1b[3" in text) == color


def test_the_evidence_for_a_claim():
    required = a_cell(
        None,
        None,
        None,
        verdict="not comparable",
        cell={"activation": "sigmoid"},
        note="none never learned",
        level=0.975,
    )
    verdict = a_verdict(
        conditions=[
            a_condition(a_cell(cell={"activation": "relu"}, level=0.975), required),
            a_condition(decides=False),
        ],
        folder="runs/" + 90 * "x",
    )
    lines = printed(terminal.evidence, verdict).splitlines()
    assert "confirmed, small scale" in lines
    assert "  activation=relu: confirmed, +24.1 points [20.3, 27.9], effect size 9.1, n=3" in lines
    assert "      bn (lr=0.3): 95.1 94.8 95.5" in lines
    assert "      none never learned" in lines
    assert "difference in test accuracy, bn - none: >= 3 points; 97.5 % intervals" in lines
    assert "doesn't count toward the verdict" in " ".join(" ".join(lines).split())
    assert "folder   runs/" + 90 * "x" in lines  # as it is: there to be copied
    assert "rerun    normexp claims run faster" in lines
    exact = printed(terminal.evidence, an_exact()).splitlines()
    (row,) = (line.split("  ") for line in exact if line.startswith("largest difference from torch's "))
    assert [part.strip() for part in row if part][1:] == ["confirmed", "2.1e-15 [8e-16, 2.1e-15]", "<= 1e-12"]
    assert "1.2247" in next(line for line in exact if "1.2247" in line or "<= 1e-12" in line)  # the rule comes last
    assert [line.split() for line in exact if "normalized" in line or "1.2247" in line] == [
        ["value", "normalized"],
        ["0.5", "1.2247"],
    ]
    assert exact[exact.index("  B") : exact.index("  B") + 3] == ["  B", " +--+", " |  | C"]


def test_the_rule_before_anything_is_run():
    text = printed(terminal.rule, a_claim())
    assert "difference in test accuracy at each arm's best lr, bn - none: >= 3 points" in text
    assert "lr         0.1, 1" in text
    assert "seeds      101, 102, 103\nruns       12, 3 minutes" in text


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


def test_texts_from_files_command_nothing():
    evil = "\x1b[31m[red]x[/red]\n\r" + "very " * 30
    verdict = a_verdict(
        **dict.fromkeys(
            ("statement", "source", "because", "explanation", "command", "folder", "made", "rule", "code"), evil
        ),
        conditions=[a_condition(a_cell(cell={evil: evil}, note=evil, values={evil: [None]}), what=evil, arms=[evil])],
        tables=[{"title": evil, "columns": [evil], "rows": [[evil], [None]]}],
        drawing=evil,
        versions={evil: evil},
    )
    claim = a_claim(statement=evil, cost=evil, source=evil, explanation=evil)
    for function, value in (
        (terminal.show, [(claim, verdict)]),
        (terminal.summary, [verdict]),
        (terminal.evidence, verdict),
        (terminal.rule, claim),
    ):
        text = printed(function, value)
        assert "\x1b" not in text
        assert "\r" not in text
        assert "[red]x[/red]" in text or function is terminal.summary


def test_numbers_that_are_not_there():
    bare = dict.fromkeys(a_verdict()) | {
        "format": 1,
        "claim": "bare",
        "verdict": "inconclusive",
        "conditions": [a_condition(dict.fromkeys(a_cell()))],
    }
    assert "bare" in printed(terminal.summary, [bare, a_verdict(conditions=[])])
    assert "not comparable, -, n=0" in printed(terminal.evidence, bare)
    assert printed(terminal.summary, []) == "0 claims.\n"


@pytest.mark.parametrize("name", ["unit-moments", "fold", "scale-law", "dropout-scale"])
def test_numbers_of_wide_tables_are_not_split_at_80_columns(name):
    from normexp.claims.exact import EXACT

    tables = EXACT[name].compute(201).tables
    verdict = replace(Verdict.from_json(an_exact(name)), tables=tables)
    words = printed(terminal.evidence, verdict).split()
    for value in (value for table in tables for row in table.rows for value in row if not isinstance(value, str)):
        assert {wording.format_table_value(value, digits=digits) for digits in (6, 3)} & set(words)
