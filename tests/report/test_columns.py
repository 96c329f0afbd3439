"""Tables on the terminal fit its width, with headers in one piece, and name the columns that don't fit."""

import itertools
import re
from pathlib import Path

import pytest

from normexp.report.columns import Column, fit, need
from tests.report.runs import make_run, said, shown

KEYS = ["norm", "norm.position", "model.channels", "init", "dropout", "lr", "batch_size"]


@pytest.fixture
def many_keys():
    """Runs that differ in KEYS: lr in every other run, batch_size in one run only."""
    for i, (norm, lr) in enumerate(itertools.product(["none", "bn"], [0.1, 1.0, 10.0])):
        options = {"norm__position": ["pre", "post"][i % 2], "model__channels": [[16, 32, 64], [8]][i % 2]}
        options |= {"init": ["he", "xavier"][i % 2], "dropout": 0.1 * (i % 2), "batch_size": 60 + (i == 5)}
        metrics = {"test/accuracy": 0.9, "val/accuracy": 0.9, "train/loss": 0.1, "convergence/best_accuracy": 0.9}
        make_run(Path("runs"), norm=norm, lr=lr, metrics=metrics, **options)


@pytest.mark.parametrize("width", [45, 60, 80, 100, 120, 150, 200])
def test_every_column_is_either_shown_whole_or_named(many_keys, width):
    text = shown(width)
    header = text.splitlines()[2]
    dropped = re.search(r"No room for (.*?): use", " ".join(text.split()))
    named = dropped[1].split(", ") if dropped else []
    for head in [*KEYS, "test accuracy", "val accuracy", "n", "best val accuracy", "train loss", "steps"]:
        in_header = re.search(rf"(?<!\S){re.escape(head)}(?!\S)", header) is not None
        assert in_header != (head in named), head
    assert all(len(line) <= width for line in text.splitlines() if not line.startswith("page"))
    assert {"norm", "test accuracy", "val accuracy", "n"}.isdisjoint(named)


def test_a_pipe_has_room_for_all_columns_and_constant_ones_go_first(capsys, monkeypatch):
    values = {"val/accuracy": 0.9, "train/loss": 0.1, "convergence/steps_to_90": 30}
    for data, steps in itertools.product(["digits", "mnist"], [30, 60]):
        metrics = {**values, "test/accuracy": 0.9 + steps / 1e3, "convergence/best_accuracy": 0.9 + steps / 1e4}
        make_run(Path("runs"), name=f"{data}{steps}", data=data, steps=steps, metrics=metrics, status={"step": steps})
    monkeypatch.delenv("COLUMNS", raising=False)
    _, out, _ = said(capsys, "runs")
    assert "No room" not in out
    head = "steps  test accuracy  val accuracy  n  best val accuracy  steps to 90 %  train loss  steps trained"
    assert out.count(head) == 2
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = said(capsys, "runs")
    assert out.count("No room for steps to 90 %, train loss: use") == 1
    assert out.count("best val accuracy  steps trained\n") == 2


def test_wide_terminals_show_all(many_keys):
    assert "No room" not in shown(200)


def test_the_keys_that_tell_most_rows_apart_stay(many_keys):
    columns = [Column(name, ["1"] * 6, need(1, cells)) for name, cells in (("a", "111112"), ("b", "123456"))]
    shown_columns, dropped = fit(columns, 3)
    assert ([column.head for column in shown_columns], dropped) == (["b"], ["a"])
    header = shown(60).splitlines()[2]
    assert "lr" in header and "batch_size" not in header


def test_long_values_are_folded_between_the_other_columns():
    for norm in ("bn", "none"):
        make_run(Path("runs"), norm=norm, init="x" * 70 if norm == "bn" else "y" * 70, dropout=0.1 * (norm == "bn"))
    text = shown(80)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert text.count("x" * 24) == 2
