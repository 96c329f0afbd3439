"""Sweeps and commands when a disk is full, or when standard output goes to one."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from normexp.cli import main
from normexp.rundir import lock, read_metrics, read_status
from normexp.training import trainer
from tests.commands.shell import start
from tests.faults import failing
from tests.small_disk import free, leave, remount, small_disk
from tests.sweeps.sweeping import results, states

TINY = ["model=mlp", "model.width=4", "model.depth=2", "data.train_size=40", "batch_size=20", "steps=2", "probe=off"]
SWEEP = ["train", "-m", *TINY, "norm=bn,in", "jobs=1", "name=s"]  # the second can't be trained


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Metrics of an undisturbed sweep."""
    folder, before = tmp_path_factory.mktemp("undisturbed"), Path.cwd()
    os.chdir(folder)
    assert main(SWEEP) == 0
    os.chdir(before)
    return measured(folder / "runs/s")


def measured(folder):
    """metrics.jsonl of the only run that can be trained, without values that depend on the clock."""
    (path,) = folder.glob("*/metrics.jsonl")
    return [{tag: value for tag, value in entry.items() if "second" not in tag} for entry in read_metrics(path.parent)]


def assert_finishes(folder, undisturbed):
    """Running the same command again trains the remaining runs."""
    assert main(SWEEP) == 0
    assert sorted(states(folder).values()) == ["completed", "skipped"]
    assert measured(folder) == undisturbed


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({}, id="once"),
        pytest.param({"number": errno.EROFS, "lasting": True}, id="read-only from then on", marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_wherever_the_driver_of_a_sweep_can_not_write_it_says_so(tmp_path, capsys, how):
    at = 1
    while True:
        folder = tmp_path / str(at)
        folder.mkdir()
        os.chdir(folder)
        with failing(folder, at, **how) as faults:
            code = main(SWEEP)
        printed, error = capsys.readouterr()
        if not faults.failed:
            break
        assert "Traceback" not in printed + error
        told = [line for line in (printed + error).splitlines() if "could not be written (" in line]
        if not (faults.failed == ["mkdir s"] and code == 0):  # Hydra makes the folder too, which is there
            assert code == 1, faults.failed
            assert len(told) == 1, (faults.failed, printed, error)
        if not how:
            assert not list(folder.glob("runs/s/.session*")) or "unlink" in faults.failed[0]
        if not how and at % 5 == 0:
            assert main(SWEEP) == 0
            assert sorted(states("runs/s").values()) == ["completed", "skipped"]
        at = faults.first + (2 if not how else 7)
    assert at > 20


@pytest.mark.parametrize("pages", [0, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 4, 6, 9, 13, 17))])
def test_a_sweep_on_a_small_disk_goes_on_when_there_is_room(tmp_path, undisturbed, capsys, monkeypatch, pages):
    with small_disk(tmp_path / "disk") as disk:
        leave(disk, pages)
        monkeypatch.chdir(disk)
        assert main(SWEEP) == 1
        printed, error = capsys.readouterr()
        assert "could not be written (No space left on device)." in printed + error
        assert "Traceback" not in printed + error
        assert not error or not list(disk.glob("runs/s/.session*"))
        if pages == 0:
            assert [path.name for path in disk.iterdir()] == ["filler"]
        free(disk)
        assert_finishes(disk / "runs/s", undisturbed)
        monkeypatch.chdir("/")


def test_where_nothing_can_be_written_nothing_is_trained(tmp_path, capsys, monkeypatch):
    with small_disk(tmp_path / "disk") as disk:
        assert main(["train", *TINY, f"runs_dir={disk}/runs", "name=r"]) == 0
        shutil.copytree(disk / "runs", disk / "before")
        remount(disk, "ro")
        for words in (["train", *TINY], SWEEP, ["train", *TINY, "name=r"]):
            capsys.readouterr()
            assert main([*words, f"runs_dir={disk}/runs"]) == 1
            assert capsys.readouterr().err.endswith(" could not be written (Read-only file system).\n")
        assert main(["resume", f"{disk}/runs/r", "steps=4"]) == 1
        assert capsys.readouterr().err.endswith("/.lock could not be written (Read-only file system).\n")
        assert [path.name for path in (disk / "runs").iterdir()] == ["r"]
        for path in (disk / "before" / "r").iterdir():
            assert path.read_bytes() == (disk / "runs" / "r" / path.name).read_bytes()


FULL_OUTPUT = "normexp: Standard output could not be written (No space left on device).\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("words", "states_there"),
    [(["train", *TINY, "name=r"], ["completed"]), ([*SWEEP, "runs_dir=."], ["completed", "skipped"]), (["--help"], [])],
    ids=["run", "sweep", "help"],
)
@pytest.mark.long
def test_a_full_disk_that_is_printed_to_ends_no_training(words, states_there):
    command = ["sh", "-c", 'exec "$@" > /dev/full', "sh", sys.executable, "-m", "normexp", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (1, FULL_OUTPUT)
    assert sorted(read_status(path.parent)["state"] for path in Path().glob("*/*/status.json")) == states_there
    if words == ["--help"]:
        command[2] += " 2> /dev/full"
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.long
def test_from_the_shell_a_full_disk_is_one_sentence(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        leave(disk, 20)
        done = start("train", *TINY, "steps=200", "name=r", cwd=disk)
        assert (done.returncode, done.stderr) == (1, "")
        (line,) = (line for line in done.stdout.splitlines() if "failed" in line)
        assert line.endswith("could not be written (No space left on device).")
        assert line.startswith(f"run            failed: {Path('runs/r')}/")
        assert read_status(disk / "runs/r")["state"] == "failed"
        free(disk)
        done = start("resume", "runs/r", cwd=disk)
        assert (done.returncode, done.stderr) == (0, "")
        assert read_status(disk / "runs/r")["state"] == "completed"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_locks_a_directory_is_held_by_what_stands_in_its_file(tmp_path, monkeypatch, number):
    def flock(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    for _ in range(2):
        with lock.held(tmp_path) as free, lock.held(tmp_path) as again:
            assert (free, again) == (True, False)
    assert lock.holder(tmp_path) is None


def test_a_lock_that_can_not_be_had_is_told_in_a_sentence(capsys):
    assert main(["train", *TINY, "name=r"]) == 0
    before = (Path("runs/r") / "status.json").read_bytes()
    (Path("runs/r") / ".lock").unlink()
    (Path("runs/r") / ".lock").mkdir()
    capsys.readouterr()
    assert main(["resume", "runs/r", "steps=4"]) == 1
    assert capsys.readouterr().err == "normexp: runs/r/.lock could not be written (Is a directory).\n"
    assert (Path("runs/r") / "status.json").read_bytes() == before


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_clock_that_jumps_changes_nothing(monkeypatch, capsys, hours):
    assert main(["train", *TINY, "name=whole"]) == 0
    real, now = trainer.lr_factor, time.time

    def lr_factor(*args):
        monkeypatch.setattr(time, "time", lambda: now() + 3600 * hours)
        return real(*args)

    monkeypatch.setattr(trainer, "lr_factor", lr_factor)
    assert main(["train", *TINY, "name=jumped"]) == 0
    found = results("runs")
    assert found["whole"] == found["jumped"]
    (old,) = Path("runs/jumped").glob("events*")
    assert main(["resume", "runs/jumped", "steps=4"]) == 0
    (new,) = Path("runs/jumped").glob("events*")
    assert new.name > old.name
    path = Path("runs/jumped/status.json")
    path.write_text(path.read_text().replace('"started": "20', '"started": "21'))
    capsys.readouterr()
    assert main(["runs"]) == 0
    assert "-" not in capsys.readouterr().out.splitlines()[1].split()[1]
    assert main(["report", "runs"]) == 0
