"""`normexp.sweep`, and several runs in Python."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import normexp
from normexp.rundir import read_status
from tests.conftest import ROOT
from tests.test_api import same_bits

RUN = ("model=mlp", "data.train_size=300", "steps=2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with runs/grid: two norms with two learning rates."""
    folder = tmp_path_factory.mktemp("grid")
    for norm in ("bn", "ln"):
        for lr in (0.1, 1):
            normexp.train(*RUN, norm=norm, lr=lr, name=f"{norm}-{lr}", runs_dir=folder / "runs/grid", quiet=True)
    return folder


@pytest.fixture
def grid(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return normexp.load_runs("runs/grid")


def test_runs_are_a_sequence_that_can_be_filtered(grid):
    assert [run.config.norm.name for run in grid] == ["bn", "bn", "ln", "ln"]
    assert [run.config.lr for run in grid.filter("norm=bn")] == [0.1, 1.0]
    filtered = grid.filter(norm=["bn", "ln"], lr=0.1, state="completed")
    assert [run.name for run in filtered] == [grid[0].name, grid[2].name]
    assert isinstance(grid[1:], normexp.Runs)
    assert len(grid[1:]) == 3
    with pytest.raises(normexp.ConfigError, match="norm is one of bn, ln"):
        grid.filter(norm="gn")


def test_a_table_has_a_row_for_each_run(grid, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    table = grid.table()
    assert list(table)[:5] == ["run", "state", "norm", "lr", "seed"]
    assert list(table["norm"]) == ["bn", "bn", "ln", "ln"]
    accuracies = [read_status(run.directory)["metrics"]["test/accuracy"] for run in grid]
    np.testing.assert_array_equal(table["test/accuracy"], accuracies)
    chosen = grid.table("norm.eps", "speed/samples_per_second", "val/loss_batch_statistics")
    assert list(chosen) == ["run", "state", "norm.eps", "speed/samples_per_second", "val/loss_batch_statistics"]
    assert np.isnan(chosen["val/loss_batch_statistics"][2:]).all()  # ln has none
    for wrong, meant in {"lrr": "lr", "test/acc": "test/accuracy"}.items():
        with pytest.raises(normexp.ConfigError, match=f"Did you mean {meant}"):
            grid.table(wrong)


def test_a_table_is_a_data_frame_if_pandas_is_installed(grid):
    pd = pytest.importorskip("pandas", reason="needs pandas")
    means = grid.table().groupby("norm")["test/accuracy"].mean()
    assert isinstance(means, pd.Series)
    assert list(means.index) == ["bn", "ln"]


def test_a_sweep_is_not_a_run(grid):
    with pytest.raises(normexp.ConfigError, match=r"use normexp\.load_runs"):
        normexp.load("runs/grid")


@pytest.mark.long
def test_a_script_without_a_main_guard_sweeps(tmp_path):
    """And a run of the sweep has the bits of the same run alone."""
    script = f"""
import normexp
runs = normexp.sweep(*{RUN}, norm=["bn", "ln"], lr=[0.1, 1], jobs=2, name="swept")
print(runs)
"""
    Path("script.py").write_text(script)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "script.py"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "sweep runs/swept: 4 runs, 2 at a time"
    assert lines[-1] == "Runs(4 completed)"
    assert sum("done, test accuracy" in line for line in lines) == 4
    (swept,) = normexp.load_runs("runs/swept").filter(norm="bn", lr=1)
    assert same_bits(normexp.train(*RUN, norm="bn", lr=1, name="alone", quiet=True).directory, swept.directory)


@pytest.mark.long
def test_ctrl_c_stops_a_sweep_which_can_be_resumed():
    code = f"""
import normexp
try:
    normexp.sweep(*{RUN[:2]}, "steps=100000", "norm=bn,ln", jobs=1, name="grid")
except KeyboardInterrupt as error:
    print("stopped:", error)
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env) as script:
        while not list(Path().glob("runs/grid/*/metrics.jsonl")):
            time.sleep(0.1)
            assert script.poll() is None
        script.send_signal(signal.SIGINT)
        printed, _ = script.communicate()
    assert "stopped: to continue the sweep: normexp resume runs/grid" in printed
    (run,) = Path().glob("runs/grid/*/status.json")
    assert read_status(run.parent)["state"] == "interrupted"
    assert (run.parent / "checkpoint.pt").exists()


@pytest.mark.long
def test_a_sweep_stops_when_its_script_is_killed():
    code = f"import normexp; normexp.sweep(*{RUN[:2]}, 'steps=100000', 'norm=bn,ln', jobs=1, name='grid')"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, env=env) as script:
        while not list(Path().glob("runs/grid/*/metrics.jsonl")):
            time.sleep(0.1)
            assert script.poll() is None
        script.kill()
    (run,) = Path().glob("runs/grid/*/status.json")
    end = time.monotonic() + 30
    while read_status(run.parent)["state"] == "running" and time.monotonic() < end:
        time.sleep(0.1)
    assert read_status(run.parent)["state"] == "interrupted"
