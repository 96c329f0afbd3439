"""Data behind figures: averages over seeds, line styles and panels."""

from pathlib import Path

import numpy as np
import pytest

from normexp.plotting.colors import NORM_STYLES
from normexp.report.analysis import analyze_tasks
from normexp.report.curves import average_curves, layer_names, thin
from normexp.report.groups import group
from normexp.report.panels import Setting, line_layout, panel_grid
from normexp.report.read import Curve, read
from tests.report.runs import make_run


def test_thinning_keeps_the_ends_and_the_same_steps_for_other_lengths():
    whole = Curve(np.arange(0, 10_000, 10), np.random.default_rng(0).normal(size=1000))
    short = Curve(whole.steps[:300], whole.values[:300])
    some, fewer = thin(whole, span=10_000), thin(short, span=10_000)
    assert len(some.steps) <= 200
    assert (some.steps[0], some.steps[-1]) == (0, 9990)
    assert fewer.steps[-1] == 2990
    last_part = fewer.steps[-1] - 10_000 / 99
    assert {step for step in fewer.steps if step < last_part} <= set(some.steps)
    assert all(whole.values[whole.steps == step] == value for step, value in zip(some.steps, some.values, strict=True))


def test_no_spike_is_thinned_out():
    steps = np.arange(1, 5001)
    runs = [Curve(steps, np.sin(steps / 500 + phase)) for phase in (0.0, 0.1, 0.2)]
    for at in (1, 13, 777, 2500, 2501, 4999):
        up, down = runs[0].values.copy(), runs[0].values.copy()
        up[at], down[at] = 50.0, -50.0
        assert thin(Curve(steps, up), span=5000).values.max() == 50
        assert thin(Curve(steps, down), span=5000).values.min() == -50
        band = average_curves([Curve(steps, up), *runs[1:]], span=5000)
        assert band.high.max() == 50
        assert band.mean.max() == pytest.approx((50 + runs[1].values[at] + runs[2].values[at]) / 3)
        band = average_curves([Curve(steps, down), *runs[1:]], span=5000)
        assert band.low.min() == -50
        assert len(band.steps) <= 600


def test_thinning_does_not_change_the_average():
    steps = np.arange(0, 20_000, 10)
    runs = [Curve(steps, np.random.default_rng(seed).normal(size=2000)) for seed in range(4)]
    band = average_curves(runs, span=20_000)
    table = np.array([run.values for run in runs])[:, band.steps // 10]
    assert band.mean == pytest.approx(table.mean(0))
    assert band.low.tolist() == table.min(0).tolist()
    assert band.high.tolist() == table.max(0).tolist()


def test_seeds_are_averaged_up_to_their_last_step():
    long = Curve(np.array([0, 10, 20]), np.array([4.0, 2.0, 1.0]))
    short = Curve(np.array([0, 10]), np.array([2.0, 1.0]))
    mean = average_curves([long, short], span=20)
    assert mean.steps.tolist() == [0, 10, 20]
    assert mean.mean.tolist() == [3.0, 1.5, 1.0]
    assert mean.low.tolist() == [2.0, 1.0, 1.0]
    assert mean.high.tolist() == [4.0, 2.0, 1.0]


def test_seeds_logged_at_other_steps_are_interpolated():
    a = Curve(np.array([0, 20]), np.array([0.0, 2.0]))
    b = Curve(np.array([0, 10, 20]), np.array([0.0, 3.0, 2.0]))
    assert average_curves([a, b], span=20).mean.tolist() == [0.0, 2.0, 2.0]


def test_layers_are_in_the_order_of_the_run_with_most():
    tags = [["grad_norm/total", "grad_norm/fc1", "grad_norm/head"], [f"grad_norm/{n}" for n in ("fc1", "fc2", "head")]]
    assert layer_names(tags, "grad_norm/") == ["fc1", "fc2", "head"]
    assert layer_names([["activation_in/a.b/p15", "activation_in/a.b/p50", "x"]], "activation_in/", "/p50") == ["a.b"]


def test_the_style_of_a_norm_does_not_depend_on_the_others():
    for norms in (["none", "bn", "ln", "in", "gn"], ["gn", "bn"]):
        for norm in norms:
            make_run(Path("_".join(norms)), norm=norm)
        styles = line_layout(group(read([Path("_".join(norms))]).runs)).styles
        drawn = {style.name: (style.color, style.dashes, style.marker) for style in styles}
        assert drawn == {f"norm={norm}": NORM_STYLES[norm] for norm in norms}


def test_options_of_a_norm_make_separate_lines():
    make_run(Path("runs"), norm="bn")
    for groups in (2, 4):
        make_run(Path("runs"), norm="gn", norm__groups=groups, name=f"g{groups}")
    plan = line_layout(group(read([Path("runs")]).runs))
    assert plan.names == ["norm=bn", "norm=gn norm.groups=2", "norm=gn norm.groups=4"]
    assert len({style.color for style in plan.styles}) == len({str(style.dashes) for style in plan.styles}) == 3


def test_a_norm_of_ones_own_has_a_color_of_its_own():
    for norm in ("bn", "gn", "mine"):
        make_run(Path("runs"), norm=norm)
    assert len({style.color for style in line_layout(group(read([Path("runs")]).runs)).styles}) == 3


def test_without_norms_another_key_makes_the_lines():
    for lr in (0.1, 1.0):
        for depth in (2, 3):
            make_run(Path("runs"), lr=lr, model__depth=depth, name=f"{lr}-{depth}")
    runs = read([Path("runs")]).runs
    assert line_layout(group(runs)).line_keys == ["model.depth"]
    assert line_layout(group(runs), across="model.depth").line_keys == ["lr"]


def test_panels_are_limited_with_a_note():
    for lr in range(1, 13):
        for batch_size in (16, 32):
            make_run(Path("runs"), lr=float(lr), batch_size=batch_size, name=f"{lr}-{batch_size}")
    groups = group(read([Path("runs")]).runs).groups
    grid = panel_grid(groups, ["lr", "batch_size"], at=Setting({}))
    assert {(panel.row, panel.column) for panel in grid.panels} == {(r, c) for r in range(2) for c in range(4)}
    assert grid.notes == ["4 of 12 values of lr shown."]
    assert grid.panels[0].title == "batch_size=16, lr=1"
    assert grid.panels[-1].title == "batch_size=32, lr=12"
    one = panel_grid([g for g in groups if g.values["batch_size"] == 16], ["lr"], at=Setting({}))
    assert (len(one.panels), one.notes) == (9, ["9 of 12 values of lr shown."])


def test_a_third_key_is_fixed_at_its_best_value():
    for lr, depth, accuracy in [(0.1, 2, 0.8), (0.1, 3, 0.9), (1.0, 2, 0.7), (1.0, 3, 0.5)]:
        for width in (10, 20, 30):
            for norm in ("none", "bn"):
                options = {"model__depth": depth, "model__width": width, "lr": lr, "norm": norm}
                make_run(Path("runs"), accuracy=accuracy, name=f"{norm}-{lr}-{depth}-{width}", **options)
    (of,) = analyze_tasks(read([Path("runs")]), metric="test/accuracy", by=None)
    assert of.best.values == {"model.depth": 3, "model.width": 10, "lr": 0.1}
    assert of.over_time.notes == ["Shown at lr=0.1, chosen by validation accuracy."]
    assert {shown.values["lr"] for shown in of.over_time.groups} == {0.1}


def test_no_empty_columns_for_values_that_the_shown_setting_lacks():
    """Two sweeps: one over batch_size with adam, the other over depth with sgd. Only one of them can be shown."""
    for norm in ("none", "bn"):
        for batch_size in (8, 16, 32, 64):
            options = {"optim": "adam", "batch_size": batch_size, "accuracy": 0.5}
            make_run(Path("runs"), norm=norm, name=f"{norm}-{batch_size}", **options)
        for depth in (3, 6, 9):
            options = {"model__depth": depth, "batch_size": 60, "optim": "sgd", "accuracy": 0.9}
            make_run(Path("runs"), norm=norm, name=f"{norm}-d{depth}", **options)
    (of,) = analyze_tasks(read([Path("runs")]), metric="test/accuracy", by=None)
    assert of.best.values["optim"] == "sgd"
    for grid in (of.over_time, of.by_layer, of.inside):
        columns = {panel.column for panel in grid.panels}
        assert columns == set(range(len(columns)))
