"""`normexp train --dry-run`: what would be trained, and how long it takes. Nothing is written."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from normexp.cli import main
from normexp.rundir import read_status, write_status
from normexp.training.timing import estimate_seconds
from tests.commands.shell import NORMEXP
from tests.conftest import compose
from tests.sweeps.sweeping import SHORT, stamps, wait_for


def test_a_run(capsys):
    words = ["model=mlp", "model.widths=[10]", "norm=gn", "norm.groups=2", "epochs=3", "data=mnist", "data_dir=nowhere"]
    assert main(["train", *words, "--dry-run"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["network"] == f"mlp, norm=gn: 2 layers, {785 * 10 + 2 * 10 + 11 * 10:,} parameters"
    assert lines["data"] == "mnist: 54,000 training, 6,000 validation, 10,000 test samples"
    assert lines["steps"] == "2,529 (3 epochs of 843), batch_size=64"
    assert re.fullmatch(r"roughly \d+ (s|min) \(from a few timed steps\)", lines["time"])
    assert not list(Path().iterdir())


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_sweep_that_is_new(jobs, capsys):
    assert main(["train", "-m", "model=mlp", "norm=bn,in", "seed=0,1", "--dry-run", *SHORT, f"jobs={jobs}"]) == 0
    printed = capsys.readouterr().out
    assert "2 runs, 2 combinations skipped" in printed
    assert "2 skipped: norm=in can't work" in printed
    assert re.search(r"^norm=bn seed=1  train: 60 steps$", printed, re.MULTILINE)
    assert re.search(r"^norm=in seed=0  skipped$", printed, re.MULTILINE)
    assert "from a few timed steps" in printed
    assert not list(Path().iterdir())


def test_a_sweep_that_has_begun(capsys):
    sweep = ["train", "-m", *SHORT, "jobs=1", "name=s", "checkpoint_every=2"]
    assert main([*sweep, "steps=4", "seed=0,1"]) == 0
    (directory,) = Path("runs/s").glob("*seed=1")
    status = read_status(directory)
    kept = {key: status[key] for key in ("total_steps", "seconds", "metrics", "started")}
    write_status(directory, state="interrupted", error=None, step=2, **kept)
    before = stamps("runs/s")
    capsys.readouterr()
    assert main([*sweep, "steps=4", "seed=0,1,2", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("3 runs, 1 done already, 1 to resume, 1 at a time")
    assert lines[2:5] == ["seed=0  done", "seed=1  resume after step 2 of 4", "seed=2  train: 4 steps"]
    assert "from finished runs of this sweep" in lines[6]
    assert stamps("runs/s") == before
    assert main([*sweep, "steps=4", "seed=0", "--dry-run"]) == 0
    assert "time" not in capsys.readouterr().out
    assert main([*sweep, "steps=3", "seed=0", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("note: runs/s already holds 2 runs that differ in steps; reports")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lr=abc"], "lr must be"),
        (["--cfg", "job"], "can't be combined"),
        (["-m", "norm=bn,ln", "norm.groups=2"], "only"),
    ],
)
def test_mistakes(words, says, capsys):
    assert main(["train", "--dry-run", *words]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.long
def test_the_estimate_grows_with_the_steps_and_the_network():
    small, long, wide = (
        estimate_seconds(compose("model=mlp", "probe=off", "eval_every=null", *words))
        for words in (["steps=2000"], ["steps=20000"], ["steps=2000", "model.widths=[2000,2000]"])
    )
    assert long > 3 * small
    assert wide > 3 * small


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_command_that_is_ended_leaves_no_process_and_no_file(number, tmp_path):
    words = ["train", "-m", "model=mlp", "norm=bn,ln", "seed=0,1", "jobs=2", "--dry-run"]
    driver = subprocess.Popen(
        [*NORMEXP, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    wait_for(lambda: list(tmp_path.glob("**/events*")))
    driver.send_signal(number)
    driver.wait(60)
    if number == signal.SIGINT:
        assert not list(tmp_path.iterdir())

    def has_ended():
        try:
            os.killpg(driver.pid, 0)
        except ProcessLookupError:
            return True
        return False

    wait_for(has_ended, seconds=20)
