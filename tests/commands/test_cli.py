"""The command line, end to end."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from normexp import __version__
from normexp.cli import main
from normexp.metrics import format_metric
from normexp.rundir import read_metrics, read_status
from tests.commands.shell import NORMEXP, start, the_run
from tests.conftest import ROOT, SHARED_DATA, needs_data


def test_a_run_from_the_shell():
    done = start("train", "norm=ln", "steps=25", "lr=0.05")
    assert (done.returncode, done.stderr) == (0, "")
    directory = the_run()
    assert directory.name.endswith("_norm=ln_steps=25_lr=0.05")
    assert "test accuracy" in done.stdout
    assert f"run directory  {directory}" in done.stdout
    assert f"normexp tensorboard {directory}\n" in done.stdout
    assert "\x1b" not in done.stdout
    status = read_status(directory)
    assert status["state"] == "completed"
    assert format_metric(status["metrics"]["test/accuracy"], "test/accuracy") in done.stdout
    assert (directory / "config_diff.yaml").read_text() == "norm:\n  name: ln\nlr: 0.05\nsteps: 25\n"
    command = json.loads((directory / "environment.json").read_text())["command"]
    assert command == ["normexp", "train", "norm=ln", "steps=25", "lr=0.05"]
    assert not Path("outputs").exists()


def on_a_terminal(*words, **environment):
    """The output of a command on a terminal of 80 columns, and its exit code."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", **environment}
    process = subprocess.Popen([*NORMEXP, *words], stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    output = b""
    try:
        while chunk := os.read(leader, 65536):
            output += chunk
    except OSError:  # how Linux says that the other side is closed
        pass
    return output.decode(), process.wait(60)


def test_on_a_terminal_progress_is_drawn_in_80_columns():
    text, code = on_a_terminal("train", "epochs=30", TERM="xterm-256color")
    assert code == 0
    assert all(part in text for part in ("/600", "grad", "completed"))


@pytest.mark.long
def test_quiet_prints_only_the_results(capsys):
    assert main(["train", "-q", "steps=1", "name=run"]) == 0
    assert main(["train", "--quiet", "steps=1", "name=run", "dropout_at=norm"]) == 0  # without notes
    first, second = capsys.readouterr().out.split("runs/run\n")[0], Path("runs/run-2")
    assert first.startswith("run  ")
    assert second.is_dir()
    assert main(["train", "-q", "-m", "norm=none,ln", "steps=1", "jobs=1", "name=sweep"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("2 runs: 2 completed\n")
    assert "\nsweep          runs/sweep\n" in printed
    assert main(["train", "-q", "-m", "norm=gn", "norm.groups=3,4", "steps=1", "jobs=1", "name=skips"]) == 0
    assert "not divisible by 3 groups" in capsys.readouterr().out
    assert main(["train", "-q", "lr=fast"]) == 2
    assert "lr must be a number" in capsys.readouterr().err
    assert main(["train", "-q", "--cfg", "job"]) == 0


def test_messages_are_wrapped_between_words_on_a_terminal():
    for words, code in ((["describe", "norm=in", "norm.position=post"], 0), (["train", "norm=xyz"], 2)):
        text, exit_code = on_a_terminal(*words, TERM="dumb", NO_COLOR="1")
        assert exit_code == code
        lines = text.splitlines()
        assert all(len(line) <= 80 for line in lines)
        assert ("This network can't tell images apart" if code == 0 else "--config-dir DIR adds your own") in " ".join(
            lines
        )
    piped = start("train", "norm=xyz")
    assert piped.stderr.count("\n") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupting_keeps_what_was_logged(number, code):
    process = subprocess.Popen([*NORMEXP, "train", "epochs=100000", "name=long"], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    metrics = Path("runs/long/metrics.jsonl")
    while not (metrics.exists() and metrics.read_text().count("\n") > 5):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == code
    assert "interrupted" in output
    status = read_status(metrics.parent)
    assert status["state"] == "interrupted"
    entries = read_metrics(metrics.parent)
    assert len(entries) > 5
    assert 0 <= status["step"] - entries[-1]["step"] <= 10
    assert (metrics.parent / "checkpoint.pt").exists()


def test_divergence_is_a_result(capsys):
    assert main(["train", "lr=1e30", "norm=none", "steps=20"]) == 0
    assert "diverged: the loss became" in " ".join(capsys.readouterr().out.split())
    assert read_status(the_run())["state"] == "diverged"


def test_runs_never_collide(capsys):
    for _ in range(3):
        assert main(["train", "steps=1", "name=same"]) == 0
    assert {path.name for path in Path("runs").iterdir()} == {"same", "same-2", "same-3"}


@pytest.mark.long
def test_flags_and_overrides_in_any_order(capsys):
    assert main(["train", "norm=none,ln", "-m", "steps=2", "jobs=1", "name=sweep"]) == 0
    assert {p.name for p in Path("runs/sweep").iterdir() if p.is_dir()} == {"norm=none_steps=2", "norm=ln_steps=2"}
    capsys.readouterr()
    assert main(["train", "lr=0.25", "--cfg", "job", "norm=gn"]) == 0
    printed = capsys.readouterr().out
    assert "lr: 0.25" in printed
    assert "groups: 4" in printed
    # In processes of their own: Hydra sets up logging for these, which would outlive the test.
    assert "norm: in" in start("train", "norm=in", "--info", "defaults-tree").stdout
    assert start("train", "--info", "norm=in").returncode == 0
    assert {path.name for path in Path("runs").iterdir()} == {"sweep"}


def test_a_network_that_can_not_learn_is_pointed_out(capsys):
    assert main(["train", "norm=in", "norm.position=post", "steps=1"]) == 0
    assert "can't tell images apart" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "normexp train"),
        (["--help"], "gn"),
        (["-h"], "normexp completion"),
        (["--version"], __version__),
        (["train", "--help"], "norm.momentum=0.1"),
        (["train", "norm=gn", "--help", "model=resnet"], "norm.groups=4"),
        (["completion", "--help"], "fish"),
        (["describe", "--help"], "averages over"),
        (["describe"], "B,H,W"),
        (["tensorboard", "--help"], "browser"),
        (["help", "lr"], "a number > 0 "),
        (["help", "learning_rate"], "lr=0.1    peak learning rate"),
        (["help", "depth"], "model.depth=3     hidden layers"),
        (["help", "norm.groups"], "with norm=gn"),
        (["help", "eval_every"], "auto, an integer >= 1 or null"),
        (["help", "norm"], "norm.momentum=0.1"),
        (["help", "norm=gn"], "norm.groups=4"),
        (["help", "gn"], "norm.groups=4"),
        (["help", "norm.name"], "Choices of norm"),
        (["help", "debug"], "debug=overfit"),
    ],
)
def test_what_a_newcomer_asks_first_is_answered_without_torch(words, says):
    code = "import sys; from normexp.cli import main; c = main(sys.argv[1:]); assert 'torch' not in sys.modules; sys.exit(c)"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert says in done.stdout
    assert all(len(line.rstrip()) <= 80 for line in done.stdout.splitlines())


@pytest.mark.parametrize("words", [[], ["runs"], ["train", "norm=gn"], ["help"]])
def test_help_of_a_command_is_that_of_its_flag(words, capsys):
    assert main(["help", *words]) == 0
    printed = capsys.readouterr().out
    assert main([*(word for word in words if word != "help"), "--help"]) == 0
    assert printed == capsys.readouterr().out
    assert main(["help", "trian"]) == 2
    assert "Did you mean train?" in capsys.readouterr().err


SHORT_RUN = ["train", "steps=4", "checkpoint_every=2", "eval_every=2"]
# The first use of some torch functions imports its compiler and sympy, which doubles the import time.
SLOW = ["torch._dynamo", "torch._inductor", "sympy", "torchvision", "matplotlib", "sklearn.datasets", "pandas"]


@pytest.mark.parametrize(
    ("words", "unused"),
    [
        ([*SHORT_RUN, "optim=sgd"], SLOW),
        ([*SHORT_RUN, "optim=adam", "probe=full", "grad_clip=1", "dropout=0.1"], SLOW),
        (["train", "--cfg", "job"], ["torch"]),
        (["train", "lr=fast"], ["torch"]),
        (["help", "lr"], ["hydra", "yaml", "numpy"]),
        (["runs"], ["hydra", "numpy", "normexp.report.terminal"]),
        (["resume", "runs/nope"], ["rich", "hydra", "normexp.compose"]),
        (["rm", "runs/nope"], ["rich", "hydra", "normexp.compose"]),
    ],
)
def test_a_command_imports_none_of_what_it_does_not_use(words, unused):
    Path("runs").mkdir()
    code = f"import sys; from normexp.cli import main; main(sys.argv[1:]); print([m for m in {unused} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout


@needs_data
@pytest.mark.parametrize(
    ("words", "accuracy"),
    [
        (["data=mnist", "model=mlp", "epochs=2"], 0.97),
        pytest.param(
            ["data=cifar10", "data.verify=false", "model=resnet", "model.depth=8", "model.width=4", "steps=4"],
            0.05,
            marks=pytest.mark.long,
        ),
    ],
)
def test_real_data(words, accuracy, capsys):
    assert main(["train", *words, f"data_dir={SHARED_DATA}"]) == 0
    assert read_status(the_run())["metrics"]["test/accuracy"] > accuracy


@pytest.mark.long
def test_the_wheel_works_where_nothing_else_of_the_project_is(tmp_path):
    """Build the wheel, unpack it into an empty folder, and run it from another one."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("normexp-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", tmp_path / "site", wheel], check=True)
    (tmp_path / "empty").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    code = "import normexp; print(normexp.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "empty",
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(tmp_path / "site"))
    done = start("train", "steps=3", "norm=gn", cwd=tmp_path / "empty", env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert read_status(the_run(tmp_path / "empty" / "runs"))["state"] == "completed"
    assert json.loads((the_run(tmp_path / "empty" / "runs") / "environment.json").read_text())["git"] is None
