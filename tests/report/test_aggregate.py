"""Means over seeds, their order, and the table on the terminal."""

import json
import math
import statistics
from pathlib import Path

import pytest

from normexp.config import ConfigError
from normexp.metrics import format_metric, format_spread, higher_is_better
from normexp.report.aggregate import aggregate, describe_outcome, format_mean_std
from normexp.report.groups import group
from normexp.report.read import read
from normexp.report.select import select
from tests.report.runs import make_run, make_sweep, said, shown


def table(metric="test/accuracy", **options):
    return aggregate(group(read([Path("runs")]).runs), metric, **options)


def test_mean_and_sample_standard_deviation_best_first():
    values = {("bn", 0.1): [0.97, 0.98, 0.96], ("none", 0.1): [0.5], ("ln", 0.1): [0.99, 0.99]}
    make_sweep(Path("runs"), values)
    rows = table()
    assert [row.group.values["norm"] for row in rows] == ["ln", "bn", "none"]
    assert (rows[1].mean, rows[1].n) == (pytest.approx(0.97), 3)
    assert rows[1].std == pytest.approx(statistics.stdev([0.97, 0.98, 0.96]))
    assert (rows[2].std, format_mean_std(rows[2], "test/accuracy")) == (None, "50.00 %")
    assert format_mean_std(rows[1], "test/accuracy") == "97.00 % ± 1.00"


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (13.0, 0.0, "13 ± 0"),
        (0.0651534, 0.0, "0.06515 ± 0.00000"),
        (0.0651534, 0.00923, "0.0652 ± 0.0092"),
        (0.0651534, 0.0996, "0.07 ± 0.10"),
        (17.6667, 4.163, "17.7 ± 4.2"),
        (4567.0, 123.4, "4570 ± 120"),
        (1.7e308, math.inf, "1.7e+308 ± inf"),
        (0.5, 1e-9, "0.5 ± 1e-09"),
    ],
)
def test_mean_and_standard_deviation_have_the_same_decimals(value, spread, text):
    assert format_spread(value, spread) == text


def test_diagnostics_have_no_best(capsys):
    for norm, drift in (("none", 0.4), ("bn", 0.2)):
        make_run(Path("runs"), norm=norm, metrics={"drift/fc1": drift, "val/accuracy": 0.9, "train/loss": drift})
    text = shown(metric="drift/fc1")
    assert "Sorted by drift fc1.\n" in text and "better" not in text
    assert [row.group.values["norm"] for row in table("drift/fc1")] == ["bn", "none"]
    _, out, _ = said(capsys, "runs", "--markdown", "--bold", "--metric", "drift/fc1")
    assert "0.2" in out and "**" not in out
    assert "**0.2**" in said(capsys, "runs", "--markdown", "--bold", "--metric", "train/loss")[1]
    _, out, _ = said(capsys, "runs", "--csv", "-")
    assert "error,val/accuracy,train/loss,drift/fc1,path" in out


def test_diverged_runs_are_counted_not_averaged():
    make_sweep(Path("runs"), {("bn", 0.1): [0.9, None, None], ("none", 0.1): [None]})
    make_run(Path("runs"), norm="ln", state="failed")
    make_run(Path("runs"), norm="ln", seed=1)
    make_run(Path("runs"), norm="gn", metrics={"train/loss": 1.0})
    ends = {row.group.values["norm"]: (row.mean, describe_outcome(row, "test/accuracy")) for row in table()}
    averaged = {"bn": (0.9, "2 of 3 diverged"), "ln": (0.9, "1 of 2 failed")}
    assert ends == {**averaged, "none": (None, "diverged"), "gn": (None, "missing")}


@pytest.mark.parametrize("metric", ["convergence/steps_to_90", "convergence/seconds_to_90"])
def test_runs_that_never_reach_an_accuracy_are_counted(metric):
    for seed, value in enumerate((40.0, None, None)):
        make_run(Path("runs"), seed=seed, metrics={metric: value, "test/accuracy": 0.9})
    (row,) = table(metric=metric)
    assert describe_outcome(row, metric) == "not reached in 2 of 3 runs"
    assert describe_outcome(row, "train/loss") == "missing in 2 of 3 runs"


def test_a_diverged_run_is_not_averaged_even_with_a_value():
    make_run(Path("runs"), state="diverged", accuracy=0.1)
    make_run(Path("runs"), seed=1, accuracy=0.9)
    assert table()[0].values == [0.9]


def test_unfinished_runs_are_marked():
    make_run(Path("runs"), norm="bn", state="interrupted", accuracy=0.6, status={"step": 30})
    make_run(Path("runs"), norm="ln", state="interrupted", accuracy=0.5)
    make_run(Path("runs"), norm="ln", seed=1, accuracy=0.7)
    ln, bn = table("val/accuracy")
    assert (ln.values, ln.so_far, describe_outcome(ln, "val/accuracy")) == ([0.7], False, "1 of 2 interrupted")
    assert (bn.values, bn.so_far) == ([0.6], True)
    assert describe_outcome(bn, "val/accuracy") == "interrupted, value at step 30"


def test_without_a_test_accuracy_the_latest_validation_accuracy_is_suggested():
    make_run(Path("runs"), state="interrupted")
    assert "No run has a test accuracy yet. --metric val/accuracy shows the latest validation accuracy." in shown(100)


def test_losses_are_better_when_lower_and_rows_can_be_sorted_otherwise():
    for norm, lr, loss in [("bn", 10.0, 0.5), ("ln", 2.0, 0.1), ("none", 0.5, 0.3)]:
        make_run(Path("runs"), norm=norm, lr=lr, metrics={"train/loss": loss})
    order = {"metric": "ln none bn", "lr": "none ln bn", "norm": "none bn ln", "name": "bn ln none"}
    for sort, norms in order.items():
        assert [row.group.values["norm"] for row in table("train/loss", sort=sort)] == norms.split()
    assert all(map(higher_is_better, ("test/accuracy", "convergence/area_under_curve", "speed/samples_per_second")))
    assert not any(map(higher_is_better, ("convergence/seconds_to_90", "val/loss")))
    assert [format_metric(value, "val/loss") for value in (0.123456, None, 3e-7)] == ["0.1235", "-", "3e-07"]


def test_huge_values_do_not_overflow():
    for seed, loss in enumerate([1.7e308, 1.6e308]):
        make_run(Path("runs"), seed=seed, metrics={"train/loss": loss})
    (row,) = table("train/loss")
    assert row.mean == pytest.approx(1.65e308)


def test_the_terminal_shows_table_heat_map_and_reasons():
    bn = {("bn", 0.1): [0.97, 0.98], ("bn", 10.0): [0.9, None]}
    make_sweep(Path("runs"), {**bn, ("none", 0.1): [0.5, 0.6], ("none", 10.0): [None]})
    make_run(Path("runs"), norm="ln", state="failed", error="RuntimeError: no memory\nand so on")
    for model in ("mlp", "wide"):
        make_run(Path("runs"), name=f"skipped-{model}", norm="in", state="skipped", error="norm=in can't be: a reason")
    text = shown()
    assert all(len(line) <= 80 for line in text.splitlines() if "train.log" not in line)
    assert "8 runs: 5 completed, 2 diverged, 1 failed; 2 combinations skipped" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["norm", "lr", "test", "accuracy", "val", "accuracy", "n", "train", "loss", "steps"] in lines
    assert ["bn", "0.1", "97.50", "%", "±", "0.71", "97.50", "%", "2", "0.5", "60"] in lines
    assert ["bn", "10", "90.00", "%", "90.00", "%", "1", "0.5", "60", "1", "of", "2", "diverged"] in lines
    assert ["none", "10", "-", "-", "0", "-", "60", "diverged"] in lines
    assert ["0.1", "10"] in lines
    assert ["none", "55.0", "div"] in lines
    assert ["bn", "97.5", "90.0*"] in lines
    assert ["ln", "fail", "-"] in lines
    assert "     1  RuntimeError: no memory (runs/norm=ln_lr=0.1_seed=0/train.log)" in text
    assert "     2  norm=in can't be: a reason" in text
    assert "\x1b" not in text


def test_colors_only_where_the_terminal_has_them():
    make_sweep(Path("runs"), {(norm, lr): [0.9, 0.8] for norm in ("bn", "none") for lr in (0.5, 2.0)})
    assert "\x1b[" in shown(color=True)
    assert "brighter" in shown(color=True)
    assert "brighter" not in shown()


def test_a_wide_heat_map_is_narrowed_or_replaced_by_a_message():
    make_sweep(Path("runs"), {(norm, float(lr)): [0.912] for norm in ("bn", "none") for lr in range(10, 24)})
    assert ["bn", *["91.2"] * 14] in [line.split() for line in shown(100).splitlines()]
    assert ["bn", *["91"] * 14] in [line.split() for line in shown(60).splitlines()]
    assert "14 columns don't fit" in shown(45)


def test_notes_name_the_keys_that_a_row_averages_over():
    make_sweep(Path("runs"), {(norm, lr): [0.9, 0.8] for norm in ("bn", "none") for lr in (0.5, 2.0)})
    make_run(Path("runs"), norm="bn", lr=0.5, seed=1, name="again")
    text = shown(200, by=["norm"])
    assert "Rows average over runs that differ in lr." in text
    assert "1 run repeats the config and seed of another (counted once)." in shown(200)
    assert "Lower train loss is better." in shown(metric="train/loss")


def test_an_unknown_metric_gets_the_nearest():
    make_run(Path("runs/a"), metrics={})
    with pytest.raises(ConfigError, match="no run has logged anything yet"):
        shown(metric="val/loss")
    make_run(Path("runs/b"))
    with pytest.raises(ConfigError, match=r"val/acuracy: no run logged that metric\. Did you mean val/accuracy\?"):
        shown(metric="val/acuracy")


def test_a_sweep_of_which_all_runs_diverged_and_some_have_not_started():
    for seed in (0, 1):
        make_run(Path("runs"), seed=seed, state="diverged", accuracy=None)
    planned = [run.name for run in Path("runs").iterdir()] + ["x", "y", "z"]
    Path("runs/sweep.json").write_text(json.dumps({"format": 1, "runs": planned}))
    lines = shown().splitlines()
    assert lines[0] == "2 runs: 2 diverged; 3 more not started"
    assert "Both runs diverged, so there is no test accuracy to report." in lines
    assert select(read([Path("runs")]), ["seed=1"]).not_started == 0


@pytest.mark.parametrize("samples", [300, None])
def test_the_best_validation_accuracy_on_a_sample_is_explained(samples):
    metrics = {"test/accuracy": 0.9, "val/accuracy": 0.92, "convergence/best_accuracy": 0.91}
    make_run(Path("runs"), metrics=metrics, eval_samples=samples)
    text = " ".join(shown().split())
    assert "best val accuracy" in text
    assert ("the highest during training, on up to 300 samples" in text) == (samples == 300)
