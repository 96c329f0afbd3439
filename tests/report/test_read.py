"""Finding and reading run directories, damaged ones included."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normexp.config import ConfigError
from normexp.report.read import curves, read
from tests.report.damage import damaged
from tests.report.runs import make_run, write_metrics


def test_runs_are_found_below_a_folder_in_natural_order():
    for lr in (10.0, 2.0, 0.5):
        make_run(Path("runs/a"), lr=lr)
    make_run(Path("runs"), name="single")
    make_run(Path("runs/a/.replaced"), name="old")
    (Path("runs") / "empty").mkdir()
    collection = read([Path("runs")])
    sweep = [f"a/norm=none_lr={lr}_seed=0" for lr in ("0.5", "2.0", "10.0")]
    assert [run.name for run in collection.runs] == [*sweep, "single"]
    assert collection.left_out == []
    run = read([Path("runs/single")]).runs[0]
    assert (run.name, run.directory, run.state) == ("single", Path("runs/single"), "completed")
    assert (run.config["norm"], run.config["norm.eps"], run.config["lr"]) == ("none", 1e-5, 0.1)
    assert run.metrics["test/accuracy"] == 0.9


def test_links_are_followed_once():
    make_run(Path("elsewhere/sweep"))
    Path("runs").mkdir()
    Path("runs/link").symlink_to(Path("elsewhere").resolve())
    Path("runs/again").symlink_to(Path("elsewhere").resolve())
    Path("elsewhere/loop").symlink_to(Path("runs").resolve())
    assert len(read([Path("runs")]).runs) == 1


def test_two_folders_with_the_same_run_are_told_apart():
    for folder in ("a", "b"):
        make_run(Path(folder), seed=0)
        make_run(Path(folder), seed=1)
    runs = read([Path("a"), Path("b")]).runs
    assert {run.config["folder"] for run in runs} == {"a", "b"}
    assert len({run.name for run in runs}) == 4
    assert "folder" not in read([Path("a")]).runs[0].config
    make_run(Path("c"), seed=2, name="other")
    assert "folder" not in read([Path("a"), Path("c")]).runs[0].config
    make_run(Path("d"), seed=0, name="another name")
    assert "folder" in read([Path("a"), Path("d")]).runs[0].config


def test_a_folder_named_twice_is_read_once():
    make_run(Path("runs/a"))
    assert len(read([Path("runs"), Path("runs/a"), Path("runs")]).runs) == 1


def test_what_is_no_folder_of_runs_is_one_sentence():
    Path("runs/empty").mkdir(parents=True)
    Path("file").touch()
    with pytest.raises(ConfigError, match=r"runs/emty does not exist\. Did you mean runs/empty\?"):
        read([Path("runs/emty")])
    with pytest.raises(ConfigError, match="file is a file"):
        read([Path("file")])
    with pytest.raises(ConfigError, match="No runs in runs"):
        read([Path("runs")])
    Path("runs/empty/sweep.json").write_text(json.dumps({"runs": ["a", "b"]}))
    with pytest.raises(
        ConfigError, match=r"^runs/empty: 2 runs, none started yet; normexp resume runs/empty trains them"
    ):
        read([Path("runs/empty")])
    make_run(Path("good"))
    with pytest.raises(ConfigError, match="No runs in runs"):
        read([Path("good"), Path("runs")])


def test_damaged_runs_are_left_out_with_a_sentence():
    make_run(Path("runs"), name="good")
    (make_run(Path("runs"), name="cut") / "status.json").write_text('{"state": "comp')
    (make_run(Path("runs"), name="unknown") / "status.json").write_text('{"state": "paused"}')
    write_metrics(make_run(Path("runs"), name="lost"), [])
    Path("runs/lost/status.json").unlink()
    make_run(Path("runs"), name="bare", state="failed").joinpath("config.yaml").unlink()
    (make_run(Path("runs"), name="yaml") / "config.yaml").write_text("norm: [")
    (make_run(Path("runs"), name="skipped", state="skipped") / "config.yaml").unlink()
    collection = read([Path("runs")])
    assert [run.name for run in collection.runs] == ["good", "skipped"]
    assert sorted(collection.left_out) == [
        "runs/bare: it has no config.yaml (state: failed).",
        "runs/cut: its status.json is damaged.",
        "runs/lost has no status.json.",
        "runs/unknown: its status.json is damaged.",
        "runs/yaml: its config.yaml is damaged (state: completed).",
    ]
    with pytest.raises(ConfigError, match=r"No readable runs in runs/cut\. runs/cut: its status"):
        read([Path("runs/cut")])


def test_a_dead_run_is_killed_and_one_of_another_host_runs():
    make_run(Path("runs"), name="dead", state="running", status={"pid": 2**22 + 1})
    make_run(Path("runs"), name="far", state="running", status={"host": "elsewhere"})
    make_run(Path("runs"), name="strange", state="running", status={"pid": 10**30})
    collection = read([Path("runs")])
    assert {run.name: run.state for run in collection.runs} == {"dead": "killed", "far": "running", "strange": "killed"}
    assert collection.left_out == []


def test_older_and_newer_layouts_are_read_as_far_as_they_go():
    old = make_run(Path("runs"), name="old")
    (old / "status.json").write_text('{"state": "completed"}')
    (old / "config.yaml").write_text("norm: bn\nlr: 0.1\n")  # a group that was a word
    metrics = {"a": 1, "b": "text", "c": 10**400, "d": None}
    new = make_run(Path("runs"), name="new", status={"more": [1], "metrics": metrics})
    (new / "config.yaml").write_text("norm: {name: bn, deep: {er: 1}}\nlr: &x 0.1\nwarm: *x\n1: 2\n")
    runs = {run.name: run for run in read([Path("runs")]).runs}
    assert runs["old"].config.items() >= {"norm": "bn", "lr": 0.1, "numerics": 1, "weight": "none"}.items()
    assert dict(runs["old"].metrics) == {}
    new = {"norm": "bn", "norm.deep": {"er": 1}, "lr": 0.1, "warm": 0.1, "1": 2, "numerics": 1}
    assert {key: runs["new"].config[key] for key in new} == new
    assert runs["new"].metrics == {"a": 1.0, "c": None, "d": None}


def test_curves_skip_and_count_half_written_lines():
    directory = make_run(Path("runs"))
    first = {"step": 1, "epoch": 0.1, "train/loss": 2.0, "lr": 1}
    null = {"step": 2, "train/loss": None, "nonfinite": {"train/loss": "nan"}}
    damaged_lines = ['{"step": 3, "train/lo', "[1]", '{"step": "4"}', '{"step": true}', "NaN", ""]
    write_metrics(directory, [first, null, *damaged_lines, {"step": 5, "train/loss": 1.0, "train/note": "text"}])
    (run,) = read([Path("runs")]).runs
    by_tag, bad_lines = curves(run, lambda tag: tag != "lr")
    assert bad_lines == 5
    assert set(by_tag) == {"train/loss", "epoch"}
    loss = by_tag["train/loss"]
    assert loss.steps.tolist() == [1, 2, 5]
    assert loss.steps.dtype == np.int64
    np.testing.assert_array_equal(loss.values, [2.0, np.nan, 1.0])


def test_of_a_step_logged_twice_the_later_counts():
    directory = make_run(Path("runs"))
    points = [(1, 1), (2, 2), (3, 3), (2, 20), (3, 30), (4, 40)]
    write_metrics(directory, [{"step": step, "x": value} for step, value in points])
    (run,) = read([Path("runs")]).runs
    curve = curves(run, lambda tag: True)[0]["x"]
    assert (curve.steps.tolist(), curve.values.tolist()) == ([1, 2, 3, 4], [1, 20, 30, 40])


def test_a_run_without_metrics_has_no_curves():
    make_run(Path("runs"))
    (run,) = read([Path("runs")]).runs
    assert curves(run, lambda tag: True)[0] == {}


def test_the_package_does_not_import_torch():
    modules = Path(sys.modules["normexp.report.read"].__file__).parent.glob("[!_]*.py")
    imports = "; ".join(f"import normexp.report.{path.stem}" for path in modules)
    heavy = "torch", "matplotlib", "scipy", "hydra"
    commands = "import normexp.commands.report, normexp.commands.runs, sys"
    check = f"{imports}; {commands}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_damage_never_raises(tmp_path_factory, data):
    folder = damaged(tmp_path_factory.mktemp("fuzz"), data)
    for run in read([folder]).runs:
        curves(run, lambda tag: True)


def test_a_folder_that_may_not_be_opened_is_said(monkeypatch):
    make_run(Path("runs"), name="good")
    Path("runs/closed").mkdir(mode=0)
    if os.geteuid() == 0:  # root may open any folder: the system's refusal is put in its way
        opened = os.scandir

        def refusing(path):
            if Path(path).name == "closed":
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return opened(path)

        monkeypatch.setattr(os, "scandir", refusing)
    assert read([Path("runs")]).left_out == ["runs/closed can't be opened (Permission denied)."]
