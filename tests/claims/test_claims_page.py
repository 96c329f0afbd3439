"""HTML page and figures of claims, from synthetic verdicts: every kind, with missing values, and malicious ones."""

import copy
import io
import itertools
import random
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from normexp.claims import forest_plot, page, terminal, wording
from normexp.claims import headline as headlines
from normexp.claims.figures import arm_styles, draw
from normexp.claims.verdict import Verdict
from normexp.plotting.colors import INK, NORM_STYLES
from normexp.plotting.style import figure_style
from tests.report.test_page import EVIL, Page


def a_cell(effect=0.241, low=0.203, high=0.279, *, verdict="confirmed", values=None, **more):
    default = {
        "cell": {},
        "verdict": verdict,
        "effect": effect,
        "low": low,
        "high": high,
        "level": 0.95,
        "effect_size": 9.1,
        "n": 3,
        "values": {"bn": [0.951, 0.948, 0.955], "none": [0.71, 0.69, 0.73]} if values is None else values,
        "chosen": {"bn": {"lr": 0.3}},
        "note": None,
    }
    return default | more


def a_condition(*cells, **more):
    default = {
        "what": "bn's accuracy is above none's",
        "decides": True,
        "measure": "test/accuracy",
        "as": "difference",
        "arms": ["bn", "none"],
        "is": ">=",
        "threshold": 0.03,
        "margin": None,
        "cells": list(cells) or [a_cell()],
    }
    return default | more


def a_verdict(name="faster", verdict="confirmed", **more):
    default = {
        "format": 1,
        "claim": name,
        "kind": "experiment",
        "statement": "Batch norm makes training converge in fewer steps.",
        "source": "Ioffe and Szegedy 2015, section 4.1",
        "explanation": "Batch norm keeps what enters the sigmoids in their middle.\n\nThe gradients reach the first layer.",
        "scale": "small",
        "quick": False,
        "verdict": verdict,
        "because": "bn is better in every cell.",
        "combine": "all",
        "conditions": [a_condition()],
        "series": [a_series()],
        "tables": [],
        "drawing": None,
        "seeds": [101, 102, 103],
        "runs": 54,
        "seconds": 132.5,
        "folder": f"runs/claims/{name}",
        "command": f"normexp claims run {name}",
        "made": "2026-11-21T18:00:00+00:00",
        "versions": {"normexp": "0.1", "torch": "2.9", "python": "3.11.7", "cpu": "some cpu"},
        "rule": "ab12cd34",
        "code": "ef56ab78",
    }
    return default | more


def a_series(**more):
    rng = random.Random(1)
    lrs = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0]
    arms = {
        arm: [
            [lr, [None if arm == "none" and lr > 1 and i else min(0.98, top - 0.1 * (lr - 0.2) ** 2) + rng.gauss(0, 0.01)
                  for i in range(3)]]
            for lr in lrs
        ]
        for arm, top in (("none", 0.6), ("bn", 0.95))
    }  # fmt: skip
    return {
        "title": "activation=relu",
        "x": "lr",
        "log_x": True,
        "y": "test/accuracy",
        "line": 0.9,
        "arms": arms,
    } | more


def an_exact(name="formula", verdict="confirmed", **more):
    cells = [
        a_cell(2.1e-15, 8e-16, 2.1e-15, level=1.0, effect_size=None, values={"": [8e-16, 9e-16, 2.1e-15]}, chosen={})
    ]
    default = {
        "kind": "exact",
        "statement": "Batch norm is x_hat = (x - mean) / sqrt(var + eps).",
        "conditions": [
            a_condition(
                *cells, **{"as": "each"}, what="largest difference from torch's layer", measure="difference_linear", arms=[],
                **{"is": "<="}, threshold=1e-12,
            )
        ],
        "series": [],
        "tables": [{"title": "One channel", "columns": ["value", "normalized"], "rows": [[0.5, 1.2247], [None, "gone"]]}],
        "drawing": "  B\n +--+\n |  | C",
        "runs": 0,
    }  # fmt: skip
    return a_verdict(name, verdict, **default) | more


def thirty_cells():
    axes = itertools.product(["sigmoid", "tanh", "relu"], [3, 5], [0.01, 0.1, 1.0, 3.0, 10.0])
    rng = random.Random(2)
    cells = []
    for activation, depth, lr in axes:
        effect = rng.gauss(0.1, 0.1)
        half = abs(rng.gauss(0.05, 0.03))
        verdict = "confirmed" if effect - half >= 0.03 else "refuted" if effect + half < 0.03 else "inconclusive"
        where = {"activation": activation, "depth": depth, "lr": lr}
        cells.append(a_cell(effect, effect - half, effect + half, verdict=verdict, cell=where, level=0.99833))
    return cells


def written(verdicts, pending=(), file="claims.html"):
    """Write the page. Returns its HTML, and what a browser sees of it."""
    page.write(Path(file), [Verdict.from_json(verdict) for verdict in verdicts], pending)
    text = Path(file).read_text(encoding="utf-8")
    seen = Page(text)
    assert seen.open == []
    return text, seen


def drawn(verdict):
    with figure_style():
        return draw(Verdict.from_json(verdict), name="f")


@pytest.mark.parametrize(
    ("condition", "cell", "words"),
    [
        ({}, {}, "+24.1 points [20.3, 27.9]"),
        ({}, {"effect": -0.006, "low": -0.018, "high": 0.006}, "-0.6 points [-1.8, 0.6]"),
        ({"as": "value", "threshold": 0.9}, {"effect": 0.951, "low": 0.94, "high": 0.962}, "95.1 % [94.0, 96.2]"),
        ({"as": "ratio", "threshold": 2}, {"effect": 2.4, "low": 1.9, "high": 3.0}, "2.4 times [1.9, 3.0]"),
        ({"as": "ratio", "threshold": 3}, {"effect": 10, "low": 3.01, "high": 31}, "10.00 times [3.01, 31.00]"),
        ({"as": "ratio", "threshold": 3}, {"effect": 10.6, "low": 0.0, "high": None}, "11 times [0, inf]"),
        ({"take": "decades", "threshold": 0.5}, {"effect": 0.9, "low": 0.8, "high": 1.0}, "+0.90 [0.80, 1.00]"),
        ({"threshold": 1.5}, {"effect": 2.0, "low": 1.6, "high": 2.4, "values": {}}, "+2.00 [1.60, 2.40]"),
        ({"measure": "drift/mean"}, {"effect": 24.1, "low": 20.3, "high": 27.9}, "+24.1 [20.3, 27.9]"),
        (
            {"as": "each", "is": "<=", "threshold": 1e-12},
            {"effect": 2.1e-15, "low": 2.1e-15, "high": 2.1e-15},
            "2.1e-15",
        ),
        ({}, {"effect": None, "low": None, "high": None}, "-"),
        ({}, {"low": None, "high": None}, "+24.1 points"),
    ],
)
def test_effects_in_their_unit_and_with_decimals_that_show_the_side_of_the_line(condition, cell, words):
    content = a_condition(a_cell(**{"values": {"bn": [0.9]}} | cell), **condition)
    (read,) = Verdict.from_json(a_verdict(conditions=[content])).conditions
    assert wording.format_effect(read, read.cells[0]) == words


def test_the_headline_is_the_cell_that_decided():
    strong, weak = a_cell(), a_cell(0.05, 0.031, 0.069, cell={"lr": 3})
    aside = a_condition(a_cell(0.031, 0.0301, 0.0319), decides=False)
    verdict = Verdict.from_json(a_verdict(conditions=[aside, a_condition(strong, weak)]))
    assert headlines.headline(verdict)[1].effect == weak["effect"]
    assert headlines.headline_label(verdict) == "lr=3"
    assert headlines.tally(verdict) == "both cells confirmed"
    against = a_cell(-0.2, -0.3, -0.1, verdict="refuted")
    verdict = Verdict.from_json(a_verdict(verdict="refuted", conditions=[a_condition(strong, weak, against)]))
    assert headlines.headline(verdict)[1].effect == against["effect"]
    assert headlines.headline(Verdict.from_json(a_verdict(conditions=[]))) is None


@pytest.mark.parametrize(
    ("outcome", "outcomes", "tally"),
    [
        ("confirmed", ["confirmed"] * 3, "all 3 cells confirmed"),
        ("confirmed", ["not comparable", "confirmed"], "1 of 2 cells confirmed, 1 not comparable"),
        ("refuted", ["confirmed", "refuted", "confirmed"], "1 of 3 cells refuted, 2 confirmed"),
        ("confirmed", ["confirmed"], ""),
    ],
)
def test_the_tally_counts_the_outcome_of_the_claim_first(outcome, outcomes, tally):
    cells = [a_cell(verdict=cell, cell={"lr": i}) for i, cell in enumerate(outcomes)]
    verdict = Verdict.from_json(a_verdict(verdict=outcome, conditions=[a_condition(*cells)]))
    assert headlines.tally(verdict) == tally
    count = f" {tally[0].upper()}{tally[1:]}." if tally else ""
    assert headlines.explain(verdict).endswith(f"; rule: >= 3 points.{count}")
    _, seen = written([verdict.to_json()])
    assert tally in "\n".join(seen.texts).splitlines()


def test_the_numbers_of_an_exact_claim_come_before_its_rule():
    text, _ = written([an_exact()])
    assert text.index("1.2247") < text.index("largest difference from torch") < text.index("How it was run")


def test_a_verdict_is_written_with_the_keys_it_was_read_from():
    content = a_verdict(tables=an_exact()["tables"])
    written_again = Verdict.from_json(content).to_json()
    assert {key: written_again[key] for key in content if key != "conditions"} == {
        key: value for key, value in content.items() if key != "conditions"
    }
    (condition,), (cell,) = content["conditions"], content["conditions"][0]["cells"]
    (again,) = written_again["conditions"]
    assert again.items() >= (condition | {"cells": [cell]}).items()


def test_a_card_for_each_claim_and_a_row_that_leads_to_it():
    verdicts = [
        a_verdict(),
        a_verdict("position", "inconclusive", quick=True, command="normexp claims run position --quick"),
        a_verdict("faster", "refuted"),
        a_verdict("affine", "not comparable", conditions=[a_condition(a_cell(None, None, None, verdict="not comparable"))]),
        an_exact(),
    ]  # fmt: skip
    _, seen = written(verdicts, ["rnn", "style"])
    plain = {text.replace("\u2212", "-") for text in seen.texts}
    cards = {attributes["id"]: attributes["class"] for tag, attributes in seen.elements if tag == "article"}
    assert list(cards.values()) == [
        "card confirmed", "card inconclusive", "card refuted", "card not-comparable", "card confirmed"
    ]  # fmt: skip
    ids = [attributes["id"] for _, attributes in seen.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    inner = {link[1:] for link in seen.links() if link.startswith("#")}
    assert set(cards) <= inner <= set(ids)
    parts = [attributes["id"] for tag, attributes in seen.elements if tag == "section"]
    assert parts == ["summary", "experiment", "exact", "pending", "reading"]
    assert "5 claims judged, 2026-11-21; 2 claims not judged yet." in seen.texts
    assert [attributes["class"] for tag, attributes in seen.elements if tag == "li" and "class" in attributes] == [
        "confirmed", "refuted", "inconclusive", "not-comparable"
    ]  # fmt: skip
    quick = [attributes for tag, attributes in seen.elements if attributes.get("class") in ("quick", "warned")]
    assert len(quick) == 2  # in its row and on its card
    assert {"+24.1 points [20.3, 27.9]", "2.1e-15 [8e-16, 2.1e-15]", "≤ 1e-12"} <= plain
    assert {"normexp claims run position --quick", "  B\n +--+\n |  | C", "One channel", "1.2247", "gone"} <= set(
        seen.texts
    )
    assert sum(tag == "svg" for tag, _ in seen.elements) == 4  # none for the exact one
    assert {"rnn", "style"} <= set(seen.texts)


def test_it_is_one_file_that_needs_no_network_and_links_to_the_runs():
    Path("elsewhere").mkdir()
    text, seen = written([a_verdict(), an_exact(folder=None)], file="elsewhere/page.html")
    assert {tag for tag, _ in seen.elements} & {"link", "iframe", "object", "base", "img"} == set()
    for tag, attributes in seen.elements:
        for name in ("src", "href", "xlink:href"):
            address = attributes.get(name, "#")
            assert address.startswith("#") or tag == "a", address
            assert "://" not in address
    assert "url(" not in text.replace("url(#", "")
    assert "@import" not in text
    assert [link for link in seen.links() if not link.startswith("#")] == ["../runs/claims/faster/"]


def test_text_from_files_stays_text():
    evil = EVIL + "\x1b[2J\ud800\x00"
    cell = a_cell(cell={evil: evil}, values={evil: [0.5, None]}, chosen={evil: {evil: evil}}, note=evil, level=0.9)
    hostile = {
        "statement": evil, "source": evil, "explanation": evil, "because": evil, "scale": evil, "drawing": evil,
        "conditions": [a_condition(cell, what=evil, measure=evil, arms=[evil, "bn"], take="best", over=evil, **{"is": evil})],
        "series": [a_series(title=evil, x=evil, y=evil, arms={evil: [[evil, [0.1]], [None, [None]]], "bn": [[evil, [1e200]]]})],
        "tables": [{"title": evil, "columns": [evil], "rows": [[evil]]}],
        "folder": f"javascript:{evil}".replace("\x00", ""), "command": evil, "made": evil, "versions": {evil: evil},
        "rule": evil, "code": evil,
    }  # fmt: skip
    verdicts = [a_verdict(evil, **hostile), a_verdict(evil, verdict=evil, **hostile), an_exact(evil, **hostile)]
    text, seen = written(verdicts, [evil])
    assert sum(tag == "script" for tag, _ in seen.elements) == 1
    assert not any(tag == "img" for tag, _ in seen.elements)
    assert not any(name.startswith("on") for _, attributes in seen.elements for name in attributes)
    assert not any(unquote(link).startswith("javascript") and ":" in link for link in seen.links())
    assert "\x1b" not in text and "\x00" not in text
    assert text.count("&lt;script&gt;") > 20


def test_missing_values():
    """Every optional value is null, and a verdict has nothing but its name."""
    nothing = dict.fromkeys(("effect", "low", "high", "level", "effect_size", "n", "values", "chosen", "note", "cell"))
    cells = [nothing | {"verdict": "not comparable"}, a_cell(values={"bn": [None, None]}), a_cell(1e300, -1e300, 1e300)]
    conditions = [
        a_condition(*cells, threshold=None, measure=None, arms=None),
        a_condition(*cells, threshold=0.0, **{"is": "within"}),
        a_condition(what="no cells") | {"cells": []},
    ]
    arms = {"none": [[0, [None, None]], [0.1, [None, 0.2]]], "bn": [[0.1, []], [10**400, [0.3]]]}
    bare = dict.fromkeys(a_verdict()) | {"format": 1, "claim": "bare", "verdict": "inconclusive", "conditions": []}
    for kind in ("experiment", "exact"):
        full = a_verdict(kind=kind, conditions=conditions, series=[a_series(arms=arms), a_series(arms={})], seeds=None)
        _, seen = written([full, bare | {"kind": kind}])
        assert sum(tag == "article" for tag, _ in seen.elements) == 2
    _, seen = written([])
    assert "0 claims judged." in seen.texts


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["exact", "quick", "lr"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_values_of_unexpected_types_are_left_out(data):
    """Values at any depth of a verdict are replaced by others."""
    verdict = copy.deepcopy(
        a_verdict(tables=an_exact()["tables"], kind=data.draw(st.sampled_from(["experiment", "exact"])))
    )
    locations = list(_locations(verdict))
    for _ in range(data.draw(st.integers(1, 4))):
        inside, key = data.draw(st.sampled_from(locations))
        inside[key] = data.draw(JSON)
    content, verdict = verdict, Verdict.from_json(verdict)
    if verdict is None:  # not read as a verdict
        return
    _, seen = written([content])
    assert sum(tag == "article" for tag, _ in seen.elements) == 1
    assert Verdict.from_json(verdict.to_json()) == verdict
    console = Console(file=io.StringIO(), width=80)
    terminal.summary(console, [verdict])
    terminal.evidence(console, verdict)


def _locations(of):
    """Every container inside, with all of its keys."""
    for key, item in of.items() if isinstance(of, dict) else enumerate(of):
        yield of, key
        if isinstance(item, dict | list):
            yield from _locations(item)


def test_thirty_cells_and_six_panels_have_room():
    series = [a_series(title=f"activation={name}") for name in "abcdef"]
    verdict = a_verdict(conditions=[a_condition(*thirty_cells())], series=series)
    figure = drawn(verdict)
    *panels, below = figure.figure.axes
    assert [axes.get_title(loc="left") for axes in panels] == [panel["title"] for panel in series]
    inches = below.get_position().height * figure.figure.get_figheight()
    assert inches / 30 > 7 / 72  # a row is higher than its letters
    boxes = sorted((axes.get_position() for axes in figure.figure.axes), key=lambda box: -box.y0)
    assert all(not box.overlaps(other) for box, other in itertools.combinations(boxes, 2))
    assert all(0 <= box.x0 < box.x1 <= 1 and 0 <= box.y0 < box.y1 <= 1 for box in boxes)
    names = [label.get_text() for label in below.get_yticklabels()]
    cells = Verdict.from_json(verdict).conditions[0].cells
    assert names == [wording.cell_label(cell) for cell in cells]
    words = [text.get_text() for text in below.texts]
    assert words == [cell.outcome for cell in cells]


@pytest.mark.parametrize(
    ("direction", "margin", "start", "end"), [(">=", None, 3, "high"), ("<=", None, "low", 3), ("within", 0.02, 1, 5)]
)
def test_the_side_that_confirms_is_shaded(direction, margin, start, end):
    condition = a_condition(a_cell(), **{"is": direction}, margin=margin)
    (axes,) = drawn(a_verdict(series=[], conditions=[condition])).figure.axes
    edges = dict(zip(("low", "high"), axes.get_xlim(), strict=True))
    (shade,) = axes.patches
    assert shade.get_x() == pytest.approx(edges.get(start, start))
    assert shade.get_x() + shade.get_width() == pytest.approx(edges.get(end, end))
    low, high = axes.get_xlim()
    assert low < 3
    assert high > 27.9


def test_an_interval_much_wider_than_the_rest_is_cut():
    figure = drawn(a_verdict(series=[], conditions=[a_condition(a_cell(), a_cell(0.1, -0.99, 0.99))]))
    low, high = figure.figure.axes[0].get_xlim()
    assert -99 < low < high < 99
    assert "Triangle: the interval extends beyond the axis." in figure.caption
    assert "Triangle" not in drawn(a_verdict(series=[])).caption
    assert drawn(a_verdict(series=[], conditions=[])) is None


def test_the_axis_of_a_forest_reaches_tiny_ratios():
    low, high, logarithmic = forest_plot.axis_limits([1e-12, 1e-10], [1e-13, 1e-11, 1e-9, 0.0], [1e-11], ratio=True)
    assert logarithmic
    assert low < 1e-13
    assert high > 1e-9


def test_arms_have_the_colors_of_their_norms():
    arms = {arm: [["", [0.5]]] for arm in ("none", "bn", "bn + noise", "ln-post", "input", "zca")}
    styles = arm_styles(Verdict.from_json(a_verdict(series=[a_series(arms=arms)])))
    assert [styles[arm].color for arm in ("none", "bn", "ln-post")] == [
        INK,
        NORM_STYLES["bn"][0],
        NORM_STYLES["ln"][0],
    ]
    assert len({style.color for style in styles.values()}) == 6
    assert styles["bn"].dashes != styles["bn + noise"].dashes  # in black and white too
    assert styles["input"].color not in {color for color, _, _ in NORM_STYLES.values()} - {
        NORM_STYLES["gn"][0],
        NORM_STYLES["in"][0],
    }


def test_the_x_axis_has_numbers_categories_or_arms():
    numbers = drawn(a_verdict(conditions=[]))
    assert numbers.figure.axes[0].get_xscale() == "log"
    arms = {"pre": [["relu", [0.5, 0.6]], ["tanh", [0.7, 0.8]]], "post": [["relu", [0.4, 0.5]], ["tanh", [None, 0.6]]]}
    names = drawn(a_verdict(conditions=[], series=[a_series(x="activation", arms=arms)]))
    axes = names.figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["relu", "tanh"]
    assert not any(
        line.get_linestyle() != "None"
        for line in axes.lines
        if len(line.get_xdata()) == 2 and line.get_label()[0] != "_"
    )
    zero = drawn(a_verdict(conditions=[], series=[a_series(x="dropout", arms={"bn": [[0.1, [0.5]], [0, [0.4]]]})]))
    assert [label.get_text() for label in zero.figure.axes[0].get_xticklabels()] == ["0", "0.1"]
    alone = drawn(a_verdict(conditions=[], series=[a_series(x="", arms={"bn": [["", [0.5]]], "none": [["", [0.4]]]})]))
    assert [label.get_text() for label in alone.figure.axes[0].get_xticklabels()] == ["bn", "none"]
    assert len(alone.figure.legends) == 0


def test_many_claims_stay_one_page_of_reasonable_size():
    text, _ = written([*(a_verdict(f"c{i}", conditions=[a_condition(*thirty_cells())]) for i in range(4)), an_exact()])
    assert len(text) < 4 * 120_000
