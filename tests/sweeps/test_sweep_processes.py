"""Sweeps that are killed, interrupted and shared, with several runs at a time, started as from a shell."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from normexp.rundir import read_status
from tests.commands.shell import start
from tests.sweeps.sweeping import SHORT, at_work, begin, descendants, gone, results, states, wait_for

# One after another: each takes all cores.
pytestmark = pytest.mark.xdist_group("sweep processes")

GRID = ["-m", *SHORT, "norm=none,bn", "seed=0,1", "steps=400", "jobs=2", "name=s"]
LONG = ["-m", *SHORT, "seed=0,1", "steps=1000000", "name=s"]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Metrics and table of the grid when nothing interrupts it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = start("train", *GRID, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return results(folder / "runs/s"), table(done.stdout)


def table(printed):
    """The table between the counts and the paths, which differ."""
    return printed[printed.index("4 runs: 4 completed") : printed.index("sweep     ")]


@pytest.mark.slow
def test_a_sweep_killed_three_times_ends_like_one_left_alone(undisturbed):
    for wait in (2.0, 4.0, 5.0):  # before the workers are up, and somewhere within the runs
        process = begin(*GRID)
        time.sleep(wait)
        below = descendants(process.pid)
        process.kill()
        process.communicate()
        wait_for(lambda below=below: gone(below), 15)
    done = start("train", *GRID)
    assert (done.returncode, done.stderr) == (0, "")
    assert results("runs/s") == undisturbed[0]
    assert table(done.stdout) == undisturbed[1]


@pytest.mark.parametrize(
    ("send", "number", "code", "jobs"),
    [(os.killpg, signal.SIGINT, 130, 2), (os.kill, signal.SIGTERM, 143, 1)],
    ids=["INT", "TERM"],
)
def test_a_signal_ends_the_runs_in_good_order(send, number, code, jobs):
    """Ctrl-C on a terminal reaches every process; `kill` reaches only the driver."""
    process = begin(*LONG, f"jobs={jobs}", start_new_session=True)
    wait_for(lambda: len(at_work("runs/s")) == jobs)
    below = descendants(process.pid)
    asked = time.monotonic()
    send(process.pid, number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == code
    assert time.monotonic() - asked < 15
    wait_for(lambda: gone(below), 10)
    assert set(states("runs/s").values()) == {"interrupted"}
    assert all(Path("runs/s", name, "checkpoint.pt").exists() for name in states("runs/s"))
    assert f"{jobs} interrupted" in output
    assert "2 left         normexp resume" in output
    assert "Traceback" not in output
    assert not list(Path("runs/s").glob(".session*"))


@pytest.mark.long
def test_a_second_signal_stops_at_once_and_is_no_lack_of_memory():
    process = begin(*LONG, "jobs=2")
    wait_for(lambda: len(at_work("runs/s")) == 2)
    pids = at_work("runs/s")
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)  # a step that does not end
    process.send_signal(signal.SIGINT)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    wait_for(lambda: gone(pids), 10)
    assert set(states("runs/s").values()) == {"interrupted"}
    assert "memory" not in output
    printed = start("runs", "runs").stdout
    assert "0 of 2 completed, 2 interrupted" in printed


@pytest.mark.long
def test_a_run_that_is_killed_is_tried_once_more_and_the_others_go_on(undisturbed):
    process = begin(*GRID)
    (victim, *_) = wait_for(lambda: at_work("runs/s"))
    others = [pid for pid in at_work("runs/s") if pid != victim]
    os.kill(victim, signal.SIGKILL)
    time.sleep(0.5)
    alive = [pid for pid in others if not gone([pid])]
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert alive == others or len(at_work("runs/s")) == 0
    assert output.count("killed by SIGKILL") == 1
    assert "retrying once; see" in output
    assert results("runs/s") == undisturbed[0]
    (log,) = (path for path in Path("runs/s").glob("*/train.log") if "SIGKILL" in path.read_text())
    assert "retrying once" in log.read_text()


@pytest.mark.slow
def test_a_run_that_is_killed_twice_is_left():
    process = begin("-m", *SHORT, "seed=0,1", "steps=2000", "jobs=2", "name=s")
    killed = []
    while len(killed) < 2:
        found = [
            read_status(path.parent)["pid"]
            for path in Path("runs/s").glob("*seed=0/status.json")
            if read_status(path.parent)["state"] == "running"
        ]
        if found and found[0] not in killed:
            os.kill(found[0], signal.SIGSEGV)
            killed.append(found[0])
        time.sleep(0.02)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert sorted(states("runs/s").values()) == ["completed", "killed"]
    assert "killed by SIGSEGV; see" in output
    assert "1 left" in output


def workers(process):
    """The joblib workers that started the runs' processes."""
    found = []
    for pid in descendants(process.pid):
        with suppress(OSError):  # it has ended meanwhile
            if b"popen_loky_posix" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


@pytest.mark.long
@pytest.mark.parametrize("last", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_worker_that_is_killed_takes_no_run_with_it(last, undisturbed):
    grid = [word.replace("none,bn", "bn").replace("0,1", "0") for word in GRID] if last else GRID
    process = begin(*grid)
    wait_for(lambda: at_work("runs/s"))
    os.kill(workers(process)[0], signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert results("runs/s") == {name: undisturbed[0][name] for name in results("runs/s")}
    assert len(results("runs/s")) == (1 if last else 4)


def test_workers_end_with_a_driver_that_is_killed_as_they_start():
    process = begin(*LONG, "jobs=2")
    below = wait_for(lambda: workers(process) and descendants(process.pid))
    process.kill()
    process.communicate()
    wait_for(lambda: gone(below), 15)
    assert not at_work("runs/s")


@pytest.mark.long
def test_two_commands_share_a_sweep(undisturbed):
    first, second = begin(*GRID), begin(*GRID)
    outputs = [each.communicate(timeout=120)[0] for each in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outputs
    assert results("runs/s") == undisturbed[0]
    logs = [path.read_text() for path in Path("runs/s").glob("*/train.log")]
    assert all(log.count("parameters, device=cpu") == 1 for log in logs)  # each was trained once
