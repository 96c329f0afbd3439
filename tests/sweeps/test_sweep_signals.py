"""Ctrl-C, killed runs, and a folder that is deleted under a running sweep, started as from a shell."""

import json
import os
import pty
import shutil
import signal
import threading
from pathlib import Path

import pytest

from normexp import rundir
from normexp.rundir import lock, process
from normexp.sweeps.launch import mark_stopped
from normexp.sweeps.shutdown import Watcher
from normexp.sweeps.spawn import _describe_exit, _record_exit
from tests.sweeps.sweeping import SHORT, at_work, begin, environment, states, wait_for

# One after another: each takes all cores.
pytestmark = pytest.mark.xdist_group("sweep processes")

LONG = ["-m", *SHORT, "data=digits", "model=mlp", "steps=1000000", "jobs=1", "name=s"]


@pytest.fixture
def started():
    """Start sweeps, and kill those that still run at the end of the test."""
    processes = []

    def start(*words, **options):
        processes.append(begin(*LONG, *words, **options))
        return processes[-1]

    yield start
    for each in processes:
        each.kill()
        each.wait()


@pytest.mark.long
@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_sweep_on_a_terminal_that_can_not_show_all_characters_can_be_stopped(encoding, started):
    """Its label is shortened with an ellipsis, and its folder has an accent."""
    Path("é").mkdir()
    controller, terminal = pty.openpty()
    output = bytearray()

    def read():
        try:
            while chunk := os.read(controller, 4096):
                output.extend(chunk)
        except OSError:  # nobody has the terminal open any more
            pass

    variables = environment(PYTHONIOENCODING=encoding, TERM="xterm", COLUMNS="120")
    process = started("seed=0", cwd="é", stdout=terminal, stderr=terminal, env=variables)
    os.close(terminal)
    reader = threading.Thread(target=read)
    reader.start()
    wait_for(lambda: b"/1000000" in output or b"Traceback" in output)
    wait_for(lambda: process.poll() is not None or at_work("é/runs/s"))
    process.send_signal(signal.SIGINT)
    process.wait(60)
    reader.join(60)
    os.close(controller)
    assert process.returncode == 130
    assert b"Traceback" not in output
    assert b"press Ctrl-C again to stop at once" in output
    assert set(states("é/runs/s").values()) == {"interrupted"}


def test_ctrl_c_after_a_killed_run_stops_the_one_that_trains_and_tells_of_both(started):
    process = started("seed=0,1")
    victims = []
    while len(victims) < 2:  # it is tried twice
        (victim,) = wait_for(lambda: [pid for pid in at_work("runs/s") if pid not in victims])
        os.kill(victim, signal.SIGKILL)
        victims.append(victim)
    wait_for(lambda: [pid for pid in at_work("runs/s") if pid not in victims])
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert sorted(states("runs/s").values()) == ["interrupted", "killed"]
    (killed,) = (path.parent for path in Path("runs/s").glob("*seed=0/status.json"))
    assert "memory" in rundir.read_status(killed)["error"]
    (interrupted,) = Path("runs/s").glob("*seed=1")
    assert (interrupted / "checkpoint.pt").exists()
    assert "2 left         normexp resume" in output


def test_only_runs_that_nobody_has_looked_after_are_marked_as_stopped(tmp_path):
    for name, error in (("gone", None), ("killed", "killed by SIGKILL, probably because memory ran out")):
        directory = tmp_path / name
        directory.mkdir()
        rundir.write_status(directory, "killed" if error else "running", error)
        status = json.loads((directory / "status.json").read_text()) | {"pid": 2**22 + 1}
        (directory / "status.json").write_text(json.dumps(status))
        (directory / lock.NAME).write_text(json.dumps({**status, "driver": process.identity()}))
    mark_stopped(tmp_path)
    assert states(tmp_path) == {"gone": "interrupted", "killed": "killed"}
    assert "memory" in rundir.read_status(tmp_path / "killed")["error"]


def test_a_process_that_records_how_a_run_ended_is_not_taken_for_one_that_trains(tmp_path, monkeypatch):
    """With one run at a time, the process that starts it is the driver."""
    watch = Watcher(None, tmp_path, tmp_path / "session")
    run = tmp_path / "run"
    run.mkdir()
    rewrite, seen = rundir.rewrite_status, []

    def look(*arguments, **values):
        seen.append(watch._pids())
        rewrite(*arguments, **values)

    monkeypatch.setattr(rundir, "rewrite_status", look)
    _record_exit(run, 2**22 + 1, "killed", "killed by SIGKILL")
    assert [*seen, watch._pids()] == [[], []]
    assert states(tmp_path) == {"run": "killed"}


def test_a_run_that_is_stopped_before_it_trains_was_not_stopped_at_once():
    """Ctrl-C ends a process with SIGTERM that has not begun to train."""
    assert _describe_exit(-signal.SIGTERM, stopping=True) == ("interrupted", "stopped before training began")
    assert _describe_exit(-signal.SIGTERM, stopping=False)[1] == "stopped by SIGTERM before training began"
    assert _describe_exit(-signal.SIGKILL, stopping=True) == ("interrupted", "stopped at once, by SIGKILL")


def test_a_lock_names_its_holder_for_as_long_as_it_is_held(tmp_path):
    with lock.held(tmp_path):
        assert lock.holder(tmp_path)["pid"] == os.getpid()
    assert lock.holder(tmp_path) is None


@pytest.mark.parametrize("remove", [lambda folder: folder.rename("moved"), shutil.rmtree], ids=["moved", "deleted"])
@pytest.mark.long
def test_a_sweep_whose_folder_goes_away_says_so(remove, started):
    process = started("seed=0,1")
    wait_for(lambda: at_work("runs/s"))
    wait_for(lambda: _removed(remove, Path("runs/s")))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "runs/s was moved or deleted while the sweep ran." in output
    assert "normexp resume runs/s" not in output
    assert "Traceback" not in output
    assert not Path("runs/s").exists()


def test_a_run_whose_folder_goes_away_is_not_to_be_resumed():
    process = begin(*SHORT, "data=digits", "model=mlp", "steps=1000000", "name=r")
    try:
        wait_for(lambda: at_work("runs"))
        Path("runs/r").rename("moved")
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "it was deleted or replaced" in output
    assert "normexp resume" not in output


def _removed(remove, folder):
    """Whether a folder could be removed. A file that is written meanwhile may prevent that."""
    try:
        remove(folder)
    except OSError:
        return not folder.exists()
    return True
