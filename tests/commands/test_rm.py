"""`normexp rm` deletes runs and sweeps, and nothing else."""

import io
import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from normexp.cli import main
from normexp.rundir import lock, process
from tests.commands.shell import NORMEXP
from tests.report.runs import make_run


@pytest.fixture(autouse=True)
def _runs():
    """A run, and a sweep of two."""
    make_run(Path("runs"), name="run")
    for norm in ("bn", "ln"):
        make_run(Path("runs/sweep"), name=f"norm={norm}", norm=norm)
    Path("runs/sweep/sweep.json").write_text(json.dumps({"runs": ["norm=bn", "norm=ln"]}))


def paths(folder="."):
    return sorted(str(path) for path in Path(folder).rglob("*"))


def test_it_lists_and_deletes(capsys):
    assert main(["rm", "--yes", "runs/run", "runs/sweep/norm=bn"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("runs/run  (run, completed, ")
    assert printed[1].startswith("runs/sweep/norm=bn  (run, completed, ")
    assert sorted(path.name for path in Path("runs").iterdir()) == ["sweep"]
    assert main(["rm", "-y", "runs/sweep", "runs/sweep/norm=ln"]) == 0  # the run goes with its sweep
    assert capsys.readouterr().out.splitlines()[0].startswith("runs/sweep  (sweep, 1 run, ")
    assert paths("runs") == []


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("\n", 1)])
def test_it_asks_on_a_terminal(answer, code):
    leader, follower = pty.openpty()
    os.write(leader, answer.encode())
    done = subprocess.run(
        [*NORMEXP, "rm", "runs/run"], stdin=follower, capture_output=True, text=True, timeout=60, check=False
    )
    os.close(leader)
    os.close(follower)
    assert (done.returncode, done.stderr) == (code, "")
    assert "Delete this directory? [y/N]" in done.stdout
    assert Path("runs/run").exists() == (code == 1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["runs/run"], "add --yes"),
        (["--yes"], "Name the directory"),
        (["run", "--yes"], "run does not exist. Did you mean runs/run?"),
        (["runs/rnu", "--yes"], "Did you mean runs/run?"),
        (["runs", "--yes"], "not inside runs"),
        (["runs/sweep/..", "--yes"], "not inside runs"),
        (["elsewhere/run", "--yes"], "not inside runs"),
        (["runs/linked/run", "--yes"], "not inside runs"),
        (["runs/link", "--yes"], "symbolic link"),
        (["runs/mine", "--yes"], "not the directory of a run or sweep"),
        (["runs/run/config.yaml", "--yes"], "not a directory"),
        (["runs/run", "runs/mine", "--yes"], "not the directory of a run or sweep"),
        (["runs/run", "--yess"], "Did you mean --yes?"),
    ],
)
def test_it_refuses_everything_else(words, says, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    make_run(Path("elsewhere"), name="run")
    Path("runs/mine").mkdir()
    Path("runs/mine/notes.txt").touch()
    Path("runs/link").symlink_to("run")
    Path("runs/linked").symlink_to("../elsewhere")
    before = paths()
    assert main(["rm", *words]) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert paths() == before


def test_runs_dir_may_be_another_or_a_link(capsys):
    make_run(Path("elsewhere"), name="run")
    Path("link").symlink_to("runs")
    assert main(["rm", "-y", "elsewhere/run", "runs_dir=elsewhere"]) == 0
    assert main(["rm", "-y", "link/run", "runs_dir=link"]) == 0
    assert not Path("elsewhere/run").exists()
    assert not Path("runs/run").exists()


def test_what_is_in_use_is_kept(capsys):
    me = f"in use by process {os.getpid()} on {os.uname().nodename}."
    for directory, used in (("runs/run", "runs/run"), ("runs/sweep", "runs/sweep/norm=ln")):
        with lock.held(Path(used)):
            assert main(["rm", "-y", directory]) == 2
            assert capsys.readouterr().err == f"normexp: {used} is {me}\n"
    session = Path("runs/sweep/.session-x.json")
    session.write_text(json.dumps({"driver": process.identity()}))
    assert main(["rm", "-y", "runs/run", "runs/sweep"]) == 2
    assert f"runs/sweep is {me}" in capsys.readouterr().err
    assert Path("runs/run").exists()
    session.write_text(json.dumps({"driver": {**process.identity(), "began": 1}}))  # a driver that was killed
    assert main(["rm", "-y", "runs/run", "runs/sweep"]) == 0
    assert paths("runs") == []


def test_what_a_lock_links_to_is_left_alone(capsys):
    Path("precious").write_text("content")
    Path("runs/run/sub").mkdir()
    Path("runs/run/sub/.lock").symlink_to(Path("precious").absolute())
    assert main(["rm", "runs/run", "--yes"]) == 0
    assert Path("precious").read_text() == "content"
    assert not Path("runs/run").exists()
    assert not list(Path("runs").glob(".*"))


@pytest.mark.parametrize("name", [".lock", ".session-x.json"])
def test_a_run_that_may_train_on_another_machine_is_not_deleted(name, capsys):
    who = {"pid": 4242, "host": "node17", "boot": "x", "started": 1}
    file = Path("runs/run", name)
    file.write_text(json.dumps(who if name == ".lock" else {"driver": who}))
    before = file.read_text()
    assert main(["rm", "runs/run", "--yes"]) == 2
    assert capsys.readouterr().err == (
        "normexp: runs/run is in use by process 4242 on node17. This can't be checked from here: if that process has ended, "
        f"delete {file} and try again.\n"
    )
    assert file.read_text() == before
    file.unlink()
    assert main(["rm", "runs/run", "--yes"]) == 0


@pytest.mark.parametrize("content", [None, '{"driver": "x"}', "[" * 100_000])
def test_damaged_session_files_do_not_matter(content):
    session = Path("runs/run/.session-x.json")
    os.mkfifo(session) if content is None else session.write_text(content)
    assert main(["rm", "runs/run", "--yes"]) == 0


def test_the_current_folder_is_not_deleted(monkeypatch, capsys):
    monkeypatch.chdir("runs/run")
    assert main(["rm", ".", "runs_dir=..", "--yes"]) == 2
    assert "contains the current folder" in capsys.readouterr().err
    assert Path("status.json").exists()
