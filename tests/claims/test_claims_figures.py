"""Figures of claims, from synthetic verdicts."""

import itertools

import pytest

from normexp.claims import forest_plot, wording
from normexp.claims.figures import arm_styles, draw
from normexp.claims.verdict import Verdict
from normexp.plotting.colors import INK, NORM_STYLES
from normexp.plotting.style import figure_style
from tests.claims.verdicts import a_cell, a_condition, a_series, a_verdict, thirty_cells


def drawn(verdict):
    with figure_style():
        return draw(Verdict.from_json(verdict), name="f")


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
    ("direction", "lines", "confirms", "refutes"),
    [
        (">=", (0.03, 0.01), [(3, "high")], [("low", 1)]),
        ("<=", (0.01, 0.03), [("low", 1)], [(3, "high")]),
        ("within", (0.01, 0.03), [(-1, 1)], [("low", -3), (3, "high")]),
    ],
)
def test_the_sides_that_confirm_and_refute_are_shaded_differently(direction, lines, confirms, refutes):
    condition = a_condition(a_cell(), **{"is": direction}, confirm=lines[0], refute=lines[1])
    (axes,) = drawn(a_verdict(series=[], conditions=[condition])).figure.axes
    ends = dict(zip(("low", "high"), axes.get_xlim(), strict=True))
    shades = {hatched: [p for p in axes.patches if bool(p.get_hatch()) == hatched] for hatched in (False, True)}
    for patches, sides in ((shades[False], confirms), (shades[True], refutes)):
        found = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in patches]
        assert found == [pytest.approx([ends.get(end, end) for end in side]) for side in sides]
    vertical = [line for line in axes.lines if len(line.get_xdata()) == 2 and len(set(line.get_xdata())) == 1]
    assert len({line.get_linestyle() for line in vertical}) == 2
    assert ends["low"] < 1
    assert ends["high"] > 27.9


def test_markers_tell_outcomes_apart_and_bounds_are_arrows():
    outcomes = ["confirmed", "refuted", "smaller than claimed", "undecided"]
    cells = [a_cell(verdict=outcome, cell={"lr": i}) for i, outcome in enumerate(outcomes)]
    cells += [a_cell(bound=">", high=None), a_cell(bound="<", low=None)]
    figure = drawn(a_verdict(series=[], conditions=[a_condition(*cells)]))
    (axes,) = figure.figure.axes
    at_effect = [line for line in axes.lines if list(line.get_xdata()) == [pytest.approx(24.1)]]
    looks = [(line.get_marker(), line.get_markerfacecolor() == INK) for line in at_effect]
    assert looks == [("o", True), ("X", True), ("D", True), ("o", False), (">", True), ("<", True)]
    assert "Arrow: only a bound, or the interval extends beyond the axis." in figure.caption


def test_an_interval_much_wider_than_the_rest_is_cut():
    figure = drawn(a_verdict(series=[], conditions=[a_condition(a_cell(), a_cell(0.1, -0.99, 0.99))]))
    low, high = figure.figure.axes[0].get_xlim()
    assert -99 < low < high < 99
    assert "Arrow: only a bound, or the interval extends beyond the axis." in figure.caption
    assert "Arrow" not in drawn(a_verdict(series=[])).caption
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


def test_seeds_that_never_get_there_are_counted_at_the_top_and_have_no_mean():
    arms = {
        "none": [[1, [None, None, None]], [3, [600, None, 700]]],
        "bn": [[1, [200, 300, 250]], [3, [100, 150, 200]]],
    }
    figure = drawn(a_verdict(conditions=[], series=[a_series(x="lr", y="steps to 90 % val accuracy", arms=arms)]))
    (axes,) = figure.figure.axes
    assert [text.get_text() for text in axes.texts] == ["3", "1"]
    (marks,) = (line for line in axes.lines if line.get_marker() == "^")
    assert list(marks.get_xdata()) == [1, 3]
    means = {
        tuple(line.get_ydata()) for line in axes.lines if len(line.get_ydata()) == 2 and line.get_linestyle() != "None"
    }
    assert (250, 150) in means
    assert not any(650 in line for line in means)
    assert "Triangle at the top: the number of seeds that never got there." in figure.caption
    assert [tips for tips in figure.tips.values() if tips] == [
        ["none, lr=1: 3 without a value", "none, lr=3: 600 to 700, n=2, 1 without a value"],
        ["bn, lr=1: 250 (200 to 300, n=3)", "bn, lr=3: 150 (100 to 200, n=3)"],
    ]
