"""The progress display of a sweep reads files with any content."""

import io
import json

import pytest
from rich.console import Console

from normexp import rundir
from normexp.rundir import process
from normexp.sweeps.progress import ProgressView

ODD = [None, "3", [1], {"a": 1}, True, -1, 10**400, float("nan")]

SHAPES = [
    *({key: value} for key in ("step", "total_steps", "seconds", "error", "started") for value in ODD),
    *({"metrics": value} for value in ODD),
    *({"metrics": {"test/accuracy": value}} for value in ODD),
    *({key: None} for key in ("pid", "host")),
]


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("state", ["running", "completed", "failed"])
def test_a_status_of_another_shape_is_shown_as_far_as_it_goes(terminal, state, tmp_path):
    good = {"state": state, "step": 1, "total_steps": 2, "seconds": 1.0, "metrics": {}, "error": None}
    contents = [json.dumps({**good, **process.identity(), **shape}) for shape in SHAPES]
    contents += [json.dumps({"state": state, **process.identity()}), json.dumps({"state": state})]
    contents += ["[" * 100_000, "{", "[]", '{"state": []}']
    printed = io.StringIO()
    console = Console(file=printed, force_terminal=terminal, width=200, height=200)
    names = [f"run={number}" for number in range(len(contents))]
    view = ProgressView(console, tmp_path, names=names, total=len(names), labels={})
    for name, content in zip(names, contents, strict=True):
        (tmp_path / name).mkdir()
        (tmp_path / name / "status.json").write_text(content)
    with view.shown():
        view.tick()
    if state == "failed":
        assert printed.getvalue().count("failed") >= len(SHAPES)


@pytest.mark.parametrize("key", ["step", "train/loss", "train/accuracy"])
def test_metrics_of_another_shape_are_shown_as_far_as_they_go(key, tmp_path):
    view = ProgressView(Console(file=io.StringIO(), force_terminal=True), tmp_path, names=["a"], total=1, labels={})
    (tmp_path / "a").mkdir()
    rundir.write_status(tmp_path / "a", "running")
    with view.shown():
        for value in ODD:
            entry = {"step": 5, "train/loss": 0.5, "train/accuracy": 0.5, key: value}
            (tmp_path / "a/metrics.jsonl").write_text(json.dumps(entry) + "\n" + "[" * 60_000 + "\n")
            view.tick()


@pytest.mark.parametrize(
    ("label", "width", "shown"),
    [
        ("norm=bn seed=0", 80, "norm=bn seed=0"),
        ("norm=none data=mnist norm.position=post seed=0", 120, "norm=none data=mnist norm.position=post seed=0"),
        ("norm=none data=mnist lr=0.1 seed=0", 80, "norm=none data=mnist lr=0.1 seed=0"),
        ("norm=none data=mnist norm.position=post seed=0", 80, "norm=none data=mnis…position=post seed=0"),
    ],
)
def test_labels_are_whole_as_long_as_they_fit_next_to_bar_and_loss(label, width, shown, tmp_path):
    printed = io.StringIO()
    console = Console(file=printed, force_terminal=True, width=width)
    view = ProgressView(console, tmp_path, names=["a"], total=1, labels={"a": label})
    (tmp_path / "a").mkdir()
    rundir.write_status(tmp_path / "a", "running")
    entry = {"step": 12345, "train/loss": 0.123, "train/accuracy": 0.5}
    (tmp_path / "a/metrics.jsonl").write_text(json.dumps(entry) + "\n")
    with view.shown():
        view.tick()
    assert f"{shown}  " in printed.getvalue()
    assert "loss 0.123" in printed.getvalue()
    assert ("train acc 50.00 %" in printed.getvalue()) == (len(label) < 20 or width > 80)


@pytest.mark.parametrize("content", ['{"state": "running"}', '{"state": "running", "metrics": [], "seconds": "1"}'])
def test_a_status_of_another_shape_can_be_rewritten(content, tmp_path):
    (tmp_path / "status.json").write_text(content)
    rundir.rewrite_status(tmp_path, rundir.read_status(tmp_path), state="killed", error="why")
    status = rundir.read_status(tmp_path)
    assert (status["state"], status["error"], status["step"], status["metrics"]) == ("killed", "why", 0, {})
