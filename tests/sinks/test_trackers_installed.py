"""`tracker=NAME` with the real libraries: what they have stored is read back."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from normexp.cli import main
from normexp.config import TRACKERS
from normexp.rundir import read_metrics
from normexp.rundir.reader import read_json

RUN = ["train", "data.train_size=200", "log_every=2", "eval_every=4", "checkpoint_every=3"]


@pytest.fixture(params=TRACKERS)
def name(request, monkeypatch, tmp_path):
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed: pip install '.[{request.param}]'")
    for variable in [key for key in os.environ if key.startswith(("MLFLOW_", "WANDB_", "TRACKIO_"))]:
        monkeypatch.delenv(variable)
    for variable in ("TRACKIO_DIR", "HOME"):  # the libraries leave files there
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    return request.param


def stored(name):
    """The runs in the tracker, by name."""
    words = [sys.executable, "-W", "ignore", Path(__file__).with_name("tracker_readers.py"), name]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path[1:])}
    runs = json.loads(subprocess.run(words, check=True, capture_output=True, env=env).stdout.splitlines()[-1])
    assert len(runs) == len({run["name"] for run in runs})
    return {run["name"]: run for run in runs}


def metrics(directory):
    """Values by step, by tag, of metrics.jsonl."""
    values = {}
    for entry in read_metrics(directory):
        for tag, value in entry.items():
            if "/" in tag and value is not None:
                values.setdefault(tag, {})[str(entry["step"])] = value
    return values


def test_a_resumed_run_is_one_run_in_the_tracker(name, capsys):
    assert main([*RUN, "steps=6", "name=x", f"tracker={name}"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert read_json(Path("runs/x/tracker.json"))["where"] in printed.out
    assert main(["resume", "runs/x", "steps=10"]) == 0
    assert "failed" not in Path("runs/x/train.log").read_text()
    run = stored(name)["x"]
    found = {tag: values for tag, values in run["metrics"].items() if "/" in tag}
    assert found == metrics(Path("runs/x"))
    assert {"val/accuracy", "grad_norm/total", "test/accuracy"} <= found.keys()
    assert (run["config"]["norm"], str(run["config"]["norm.eps"]), run["group"] or None) == ("bn", "1e-05", None)
    assert ("activation_in/conv1" in run["histograms"]) == (name != "mlflow")
    assert run["state"] == {"mlflow": "FINISHED", "wandb": 0, "trackio": None}[name]
    if name == "trackio":  # which stores files under their checksums
        assert len(run["files"]) >= 5
    else:
        assert {"config.yaml", "environment.json", "histograms.png", "metrics.jsonl", "report.html"} <= {*run["files"]}


@pytest.mark.long
def test_runs_of_a_sweep_are_grouped_and_do_not_block_each_other(name, capsys):
    assert main([*RUN, "-m", "steps=4", "norm=none,bn,ln", "jobs=2", "name=grid", f"tracker={name}"]) == 0
    runs = stored(name)
    directories = {path.parent.name: path.parent for path in Path("runs/grid").glob("*/status.json")}
    assert len(directories) == 3
    assert {name: run["group"] for name, run in runs.items()} == dict.fromkeys(directories, "grid")
    for path, run in runs.items():
        assert {tag: values for tag, values in run["metrics"].items() if "/" in tag} == metrics(directories[path])


@pytest.mark.long
@pytest.mark.parametrize("wrong", ["refused", "silent"])
def test_an_unreachable_server_stops_nothing(name, wrong, monkeypatch, capsys):
    import socket

    from normexp.sinks import tracker

    monkeypatch.setattr(tracker, "CLOSE_SECONDS", 3.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts connections and never answers
        url = f"http://127.0.0.1:{9 if wrong == 'refused' else server.getsockname()[1]}"
        settings = {
            "MLFLOW_TRACKING_URI": url,
            "TRACKIO_SERVER_URL": url,
            "TRACKIO_WRITE_TOKEN": "x",
            "WANDB_BASE_URL": url,
        }
        for key, value in {**settings, "WANDB_MODE": "online", "WANDB_API_KEY": "a" * 40}.items():
            monkeypatch.setenv(key, value)
        assert main([*RUN, "steps=4", "name=x", f"tracker={name}"]) == 0
    (note,) = [line for line in capsys.readouterr().out.splitlines() if "failed" in line]
    assert note.startswith(f"note: tracker={name} failed: ")
    assert "completed" in Path("runs/x/train.log").read_text()
