"""Runs that are killed or asked to stop, started as from a shell."""

import os
import signal
import time
from pathlib import Path

import pytest

from normexp.rundir import read_metrics, read_status
from normexp.training import checkpoint
from tests.commands.shell import start
from tests.sweeps.sweeping import at_work, begin, results, wait_for

RUN = ["data.train_size=200", "threads=1", "probe.every=50", "log_every=5", "eval_every=40", "checkpoint_every=20"]
RUN += ["name=run"]
LONG = [*RUN, "steps=1000000"]


@pytest.fixture
def long_run():
    """Start a run in the background that would take hours."""
    process = begin(*LONG)
    yield process
    process.kill()
    process.communicate()


def content(directory):
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in Path(directory).iterdir()}


@pytest.mark.long
def test_a_killed_run_is_listed_and_goes_on_to_the_same_end():
    words = [*RUN, "steps=400"]
    done = start("train", *words, "runs_dir=whole")
    assert (done.returncode, done.stderr) == (0, "")
    process = begin(*words)
    wait_for(lambda: at_work("runs", step=50))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    listed = start("runs")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "killed" in listed.stdout
    done = start("resume", "runs/run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "resuming runs/run after step" in done.stdout
    assert results("runs") == results("whole")
    assert "completed" in start("runs").stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["TERM", "INT"])
def test_a_signal_stops_a_run_within_two_seconds(long_run, number, code):
    wait_for(lambda: at_work("runs", step=30))
    asked = time.monotonic()
    long_run.send_signal(number)
    output, _ = long_run.communicate(timeout=30)
    assert time.monotonic() - asked < 2
    assert long_run.returncode == code
    status = read_status(Path("runs/run"))
    assert status["state"] == "interrupted"
    assert checkpoint.load(Path("runs/run/checkpoint.pt"))["step"] == status["step"] >= 30
    assert "interrupted" in output
    assert "Traceback" not in output


@pytest.mark.long
def test_a_second_signal_stops_a_run_at_once(long_run):
    """The step has no checkpoint: the run resumes from the last regular one."""
    (pid,) = wait_for(lambda: at_work("runs", step=30))
    for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
        os.kill(pid, number)
    output, _ = long_run.communicate(timeout=30)
    assert long_run.returncode == 130
    assert "Traceback" not in output
    status = read_status(Path("runs/run"))
    assert status["state"] == "interrupted"
    newest = max(checkpoint.load(path)["step"] for path in Path("runs/run").glob("checkpoint*.pt"))
    assert newest % 20 == 0
    assert 0 <= status["step"] - newest <= 20


@pytest.mark.long
def test_a_run_at_work_is_left_alone(long_run):
    (pid,) = wait_for(lambda: at_work("runs", step=30))
    os.kill(pid, signal.SIGSTOP)
    time.sleep(0.1)
    before = content("runs/run")
    done = start("resume", "runs/run")
    assert content("runs/run") == before
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"normexp: runs/run is in use by process {pid} on {os.uname().nodename}.\n"
    os.kill(pid, signal.SIGCONT)
    steps = len(read_metrics(Path("runs/run")))
    wait_for(lambda: len(read_metrics(Path("runs/run"))) > steps)
