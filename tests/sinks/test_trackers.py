"""`tracker=NAME`, with a library that fails, hangs, dies and prints in the place of a tracker's own."""

import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from normexp.cli import main
from normexp.compose.validate import check_tracker
from normexp.config import ConfigError
from normexp.records import Histogram, Record
from normexp.rundir import read_config, read_metrics, read_status, to_yaml
from normexp.sinks import tracker
from normexp.sinks.tracker import Tracker
from normexp.sinks.trackers.base import without_secrets

RUN = ["train", "steps=6", "data.train_size=200", "log_every=2", "eval_every=4", "checkpoint_every=3"]


@pytest.fixture(autouse=True)
def library(tmp_path, monkeypatch):
    """The fake trackio; its calls end up in calls.jsonl."""
    folder = tmp_path / "site"
    folder.mkdir()
    shutil.copy(Path(__file__).with_name("fake_tracker.py"), folder / "trackio.py")
    monkeypatch.syspath_prepend(folder)


def calls(name):
    found = [json.loads(line) for line in Path("calls.jsonl").read_text().splitlines()]
    return [call for call in found if call["call"] == name]


def record(step):
    histogram = Histogram([0.0, 1.0, 2.0], [3, 4], 0.1, 1.9, 7.0, 9.0, 0)
    return Record(step, step / 10, step / 100, {"train/loss": 1 / (1 + step)}, {"activation_in/fc1": histogram})


def sink(logged_bytes=0, stopping=False):
    """A sink of a run in ./run, and what it prints."""
    directory, out = Path("run"), io.StringIO()
    directory.mkdir(exist_ok=True)
    (directory / "config.yaml").write_text(
        to_yaml({"lr": 0.1, "norm": {"name": "bn", "eps": 1e-5}, "tracker": "trackio"})
    )
    (directory / "metrics.jsonl").touch()
    console = Console(file=out, width=200)
    return Tracker(directory, "trackio", console, logged_bytes=logged_bytes, stopping=lambda: stopping), out


def test_a_tracked_run_is_the_same_run(monkeypatch, capfd, caplog):
    """And the library's output, at any moment, is not on the terminal."""
    monkeypatch.setenv("FAKE", "print log")
    assert main([*RUN, "name=plain"]) == 0
    before = capfd.readouterr()
    assert main([*RUN, "name=tracked", "tracker=trackio"]) == 0
    after = capfd.readouterr()
    assert (
        after.out.replace("tracker        trackio show --project normexp\n", "").replace("tracked", "plain")
        == before.out
    )
    assert after.err == before.err
    log = Path("runs/tracked/train.log").read_text()
    assert "an error of a library" in log
    assert "hello" not in log
    plain, tracked = (
        [{tag: v for tag, v in entry.items() if "second" not in tag} for entry in read_metrics(Path("runs", name))]
        for name in ("plain", "tracked")
    )
    assert plain == tracked
    (start,) = calls("init")
    assert (start["name"], start["project"], start["group"]) == ("tracked", "normexp", None)
    assert (start["config"]["norm"], start["config"]["norm.eps"], start["config"]["steps"]) == ("bn", 1e-5, 6)
    assert [call["step"] for call in calls("log")] == [*(entry["step"] for entry in tracked), 6]  # and the sheet
    assert calls("log")[0]["values"]["activation_in/conv1"] == "Histogram"
    assert calls("log")[-1]["values"] == {"histograms": "Image"}
    *files, report = calls("artifact")[0]["files"]
    assert files == ["config.yaml", "environment.json", "metrics.jsonl", "histograms.png"]
    assert report == "report.html"
    assert not Path("runs/tracked/report.html").exists()


@pytest.mark.parametrize("wrong", ["raise", "die", "hang"])
@pytest.mark.parametrize("where", ["import", "init", "log", "finish"])
def test_a_tracker_that_fails_stops_nothing_and_says_so_once(monkeypatch, caplog, wrong, where):
    monkeypatch.setenv("FAKE", f"{wrong} {where}")
    monkeypatch.setattr(tracker, "CLOSE_SECONDS", 0.5 if wrong == "hang" else 20.0)
    tracked, out = sink()
    for step in range(100):
        tracked.log(record(step))
    process = tracked._process
    if wrong != "hang" and where != "finish":
        process.wait(timeout=20)
        tracked.log(record(100))
    tracked.close(success=True)
    assert process.returncode != 0
    reason = {"raise": "the server is gone; train.log", "die": "exit code -9", "hang": "did not finish within 0 s"}[
        wrong
    ]
    (line,) = out.getvalue().splitlines()
    assert reason in line
    assert [entry.getMessage() for entry in caplog.records] == [line.removeprefix("note: ")]
    assert ("ConnectionError" in Path("run/train.log").read_text()) == (wrong == "raise")


def test_a_run_survives_a_failing_tracker(monkeypatch, capsys):
    monkeypatch.setenv("FAKE", "raise init")
    assert main([*RUN, "name=x", "tracker=trackio"]) == 0
    assert read_status(Path("runs/x"))["state"] == "completed"
    (note,) = [line for line in capsys.readouterr().out.splitlines() if "tracker" in line]
    assert note.startswith("note: tracker=trackio failed: the server is gone")
    assert Path("runs/x/train.log").read_text().count("WARNING tracker=trackio failed") == 1


def test_a_tracker_that_stops_reading_fills_no_memory(monkeypatch):
    monkeypatch.setenv("FAKE", "hang log")
    monkeypatch.setattr(tracker, "MAX_WAITING_BYTES", 100_000)
    tracked, out = sink()
    large = Record(1, 0.1, 0.1, {f"tag/{i}": 0.5 for i in range(10_000)})
    for _ in range(10):
        tracked.log(large)
    tracked.close(success=True)
    assert "it has stopped reading" in out.getvalue()


def test_an_interrupted_run_waits_for_its_tracker_only_briefly(monkeypatch):
    monkeypatch.setenv("FAKE", "hang init")
    monkeypatch.setattr(tracker, "STOP_SECONDS", 0.2)
    tracked, out = sink(stopping=True)
    tracked.close(success=False)
    assert "did not finish within 0 s" in out.getvalue()


def test_a_killed_run_is_still_finished_in_the_tracker():
    """Its process ends without a word: the tracker's sees that its input has ended."""
    code = (
        "import os, signal\nfrom tests.sinks.test_trackers import record, sink\n"
        "tracked, _ = sink()\ntracked.log(record(0))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = os.pathsep.join([*sys.path, str(Path(__file__).parents[2])])
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, check=False)
    deadline = time.monotonic() + 60
    while not (Path("calls.jsonl").exists() and calls("finish")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(calls("finish")) == 1
    assert calls("artifact")[0]["files"] == ["config.yaml", "metrics.jsonl"]


def test_a_resumed_run_continues_the_tracked_one(monkeypatch):
    """Repeated steps are not sent again, and what the tracker lacks of metrics.jsonl is sent first."""
    assert main([*RUN, "name=x", "tracker=trackio"]) == 0
    Path("runs/x/tracker.json").write_text(
        json.dumps({**json.loads(Path("runs/x/tracker.json").read_text()), "step": 2})
    )
    before = [call["step"] for call in calls("log")]
    Path("calls.jsonl").write_text(json.dumps(calls("init")[0]) + "\n")
    assert main(["resume", "runs/x", "steps=10"]) == 0
    first, second = calls("init")
    assert (second["resume"], {call["id"] for call in calls("log")}) == ("must", {first["id"]})
    steps = [entry["step"] for entry in read_metrics(Path("runs/x"))]
    assert before[:-1] == [step for step in steps if step <= 6]
    assert [call["step"] for call in calls("log")[:-1]] == [step for step in steps if step > 2]


def test_a_run_can_be_tracked_from_its_middle_on_and_in_another_tracker():
    """All earlier entries are sent, since the tracker has none of them."""
    assert main([*RUN, "name=x"]) == 0
    assert main(["resume", "runs/x", "steps=10", "tracker=trackio"]) == 0
    assert calls("init")[0]["resume"] == "never"
    assert [call["step"] for call in calls("log")[:-1]] == [entry["step"] for entry in read_metrics(Path("runs/x"))]
    assert read_config(Path("runs/x"))["tracker"] == "trackio"
    Path("calls.jsonl").unlink()  # the tracker has lost its runs
    assert main(["resume", "runs/x", "steps=12"]) == 0
    assert calls("init")[0]["resume"] == "never"
    assert [call["step"] for call in calls("log")[:-1]] == [entry["step"] for entry in read_metrics(Path("runs/x"))]
    assert main(["resume", "runs/x", "steps=14", "tracker=null"]) == 0
    assert len(calls("init")) == 1


def test_runs_of_a_sweep_are_a_group(monkeypatch):
    Path("sweep.json").write_text("{}")
    tracked, _ = sink()
    tracked.close(success=True)
    assert calls("init")[0]["group"] == Path.cwd().name


def test_a_missing_library_is_refused_before_anything_is_written(tmp_path, monkeypatch, capsys):
    (tmp_path / "wandb").mkdir()  # as wandb leaves it in the current folder: not the library
    monkeypatch.setattr(sys, "path", ["", *(path for path in sys.path if not (Path(path) / "wandb").is_dir())])
    for words in (["tracker=wandb"], ["-m", "tracker=wandb", "norm=bn,ln"]):
        assert main(["train", *words]) == 2
        assert "pip install 'normexp[wandb]'" in capsys.readouterr().err
    assert main(["train", "tracker=wanbd"]) == 2
    assert "one of mlflow, wandb, trackio, null. Did you mean wandb?" in capsys.readouterr().err
    assert not Path("runs").exists()
    code = "import sys\nfrom normexp.cli import main\nassert main(['train', 'tracker=wandb']) == 2 and 'torch' not in sys.modules"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    with pytest.raises(ConfigError, match="tracker=null"):
        check_tracker("wandb")
    check_tracker("trackio")


def test_a_resumed_run_whose_library_is_missing_can_go_on_without_it(monkeypatch, capsys):
    assert main([*RUN, "name=x", "tracker=trackio"]) == 0
    Path("site/trackio.py").unlink()
    sys.modules.pop("trackio", None)
    assert main(["resume", "runs/x", "steps=10"]) == 2
    assert "To train without it: tracker=null" in capsys.readouterr().err
    assert read_status(Path("runs/x"))["step"] == 6
    assert main(["resume", "runs/x", "steps=10", "tracker=null"]) == 0


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://me:secret@host:5000/#/experiments/1", "https://host:5000/#/experiments/1"),
        (
            "mlflow ui --backend-store-uri mysql+pymysql://me:secret@host/db?x=1",
            "mlflow ui --backend-store-uri mysql+pymysql://host/db",
        ),
        ("https://host/?write_token=secret", "https://host/"),
        ("mlflow ui --backend-store-uri sqlite:////home/me@work/mlflow.db", None),
    ],
)
def test_addresses_are_shown_without_passwords(address, shown):
    assert without_secrets(address) == (shown or address)
