"""A sweep's driver keeps little in memory per ended run, since a sweep may have thousands."""

import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from normexp import rundir
from normexp.compose.compose import compose_sweep
from normexp.sweeps import launch
from normexp.sweeps.progress import ProgressView
from tests.conftest import SHARED_DATA, needs_data

MAX_BYTES = 4_000
"""Size of a run's pickled result: 5,000 runs then take 20 MB at most. With its configs, a result has 100,000 bytes."""


def value(tree):
    return 0.5


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_launcher_returns_no_configs(launcher, monkeypatch):
    monkeypatch.setattr(launch, "task", value)
    cfg, loader = compose_sweep([f"hydra/launcher={launcher}"], None)
    made = launch._make_launcher(SimpleNamespace(cfg=cfg, loader=loader))
    if launcher == "joblib":
        made.joblib["n_jobs"] = 1
    results = made.launch([["seed=0"], ["seed=1"]], initial_job_idx=0)
    assert [result.return_value for result in results] == [0.5, 0.5]
    assert all(len(pickle.dumps(result)) < MAX_BYTES for result in results)


def test_the_view_keeps_nothing_but_the_state_of_a_run_that_has_ended():
    view = ProgressView(Console(quiet=True), Path("s"), names=["a", "b"], total=2, labels={})
    status = {"state": "completed", "error": None, "step": 1, "total_steps": 1, "seconds": 1.0, "started": rundir.now()}
    metrics = {f"metric/{number}": float(number) for number in range(1_000)}
    for name in ("a", "b"):
        Path("s", name).mkdir(parents=True)
        rundir.write_status(Path("s", name), **status, metrics=metrics)
    view.tick()
    assert len(pickle.dumps(view._statuses)) < MAX_BYTES


@pytest.mark.parametrize("data", ["digits", pytest.param("mnist", marks=[needs_data, pytest.mark.long])])
def test_the_driver_of_a_sweep_never_imports_torch(data):
    """It would take 200 MB and two seconds, for each of the sweeps that share a machine."""
    words = ["train", "-m", "norm=none,bn", "model=mlp", f"data={data}", f"data_dir={SHARED_DATA}", "steps=1", "jobs=1"]
    code = f"import sys; from normexp.cli import main; assert main({words!r}) == 0; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
