"""The command line, end to end."""

import json
import os
import pty
import shutil
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


def test_on_a_terminal_progress_is_drawn_in_80_columns():
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm-256color"}
    process = subprocess.Popen([*NORMEXP, "train", "epochs=30"], stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    output = b""
    try:
        while chunk := os.read(leader, 65536):
            output += chunk
    except OSError:  # how Linux says that the other side is closed
        pass
    assert process.wait(60) == 0
    text = output.decode()
    assert "/600" in text
    assert "grad" in text
    assert "completed" in text


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
    assert main(["train", "-q", "lr=fast"]) == 2
    assert "lr must be a number" in capsys.readouterr().err
    assert main(["train", "-q", "--cfg", "job"]) == 0


def on_a_terminal(*words):
    """The output of a command on a terminal of 80 columns, without escape sequences, and its exit code."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"}
    process = subprocess.Popen([*NORMEXP, *words], stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    output = b""
    try:
        while chunk := os.read(leader, 65536):
            output += chunk
    except OSError:  # how Linux says that the other side is closed
        pass
    return output.decode(), process.wait(60)


def test_messages_are_wrapped_between_words_on_a_terminal():
    for words, code in ((["describe", "norm=in", "norm.position=post"], 0), (["train", "norm=rms"], 2)):
        text, exit_code = on_a_terminal(*words)
        assert exit_code == code
        lines = text.splitlines()
        assert all(len(line) <= 80 for line in lines)
        assert ("This network can't tell images apart" if code == 0 else "--config-dir DIR adds your own") in " ".join(
            lines
        )
    piped = start("train", "norm=rms")
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


def test_choices_of_ones_own():
    own = Path("own")
    (own / "experiment").mkdir(parents=True)
    (own / "experiment" / "tiny.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /norm: gn\n  - override /model: mlp\nsteps: 3\nmodel: {width: 8}\n"
    )
    (own / "norm").mkdir()
    (own / "norm" / "slow_bn.yaml").write_text("defaults: [bn]\nmomentum: 0.01\n")
    for choice, expected in (("experiment=tiny", "name: gn"), ("norm=slow_bn", "momentum: 0.01")):
        assert main(["train", choice, "--config-dir", "own", "steps=2", f"name={expected[:4]}"]) == 0
        assert expected in (Path("runs") / expected[:4] / "config.yaml").read_text()


def test_a_file_of_ones_own_takes_over_what_it_does_not_set():
    (Path("own") / "norm").mkdir(parents=True)
    Path("own/norm/slow_bn.yaml").write_text("defaults: [bn]\nmomentum: 0.01\n")
    assert main(["train", "--config-dir", "own", "norm=slow_bn", "steps=1", "name=run"]) == 0
    stored = Path("runs/run/config.yaml").read_text()
    assert "momentum: 0.01" in stored
    assert "eps: 1.0e-05" in stored


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


def test_cfg_job_does_not_import_torch():
    code = (
        "import sys; from normexp.cli import main; main(['train', '--cfg', 'job']); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


@pytest.mark.parametrize("words", [["optim=sgd"], ["optim=adam", "probe=full", "grad_clip=1", "dropout=0.1"]])
def test_training_imports_none_of_what_it_does_not_use(words):
    """The first use of some torch functions imports its compiler and sympy, which doubles the import time."""
    slow = ["torch._dynamo", "torch._inductor", "sympy", "torchvision", "matplotlib", "sklearn.datasets", "pandas"]
    code = (
        f"import sys; from normexp.cli import main; main(sys.argv[1:]); print([m for m in {slow} if m in sys.modules])"
    )
    words = ["train", "steps=4", "checkpoint_every=2", "eval_every=2", *words]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout


def test_tensorboard_wants_a_folder(capsys):
    assert main(["tensorboard"]) == 2
    assert "runs does not exist" in capsys.readouterr().err
    Path("runs/none").mkdir(parents=True)
    assert main(["tensorboard", "runs/non"]) == 2
    assert "Did you mean none?" in capsys.readouterr().err


def test_tensorboard_serves_on_localhost_until_ctrl_c():
    import re
    import signal
    import urllib.request

    assert main(["train", "steps=2", "name=run"]) == 0
    shutil.copytree("runs/run", "runs/other")
    shutil.copytree("runs/run", "runs/third")
    command = [sys.executable, "-u", "-m", "normexp", "tensorboard", "runs/run", "runs/other", "--port", "0"]

    def heed_ctrl_c():  # a shell's background jobs, and so their children, ignore it
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509 - it sets a signal, nothing else
    ) as process:
        (address,) = re.findall(r"http://localhost:\d+/", process.stdout.readline())
        try:
            deadline, tags = time.monotonic() + 60, {}
            while not all("test/accuracy" in tags.get(name, {}) for name in ("run", "other")):
                assert time.monotonic() < deadline
                tags = json.loads(urllib.request.urlopen(f"{address}data/plugin/scalars/tags", timeout=20).read())
                time.sleep(0.2)
            assert set(tags) == {"run", "other"}
            assert "drift/conv1" in tags["run"]
            with urllib.request.urlopen(address, timeout=20) as page:  # follows to the page with its pinned charts
                assert (
                    "?smoothing=0&pinnedCards=%5B%7B%22plugin%22%3A%22scalars%22%2C%22tag%22%3A%22train/loss"
                    in page.url
                )
                content = page.read()
            assert b"TensorBoard" in content
            assert content.index(b'src="normexp.js"') < content.index(b'src="index.js')
            with urllib.request.urlopen(f"{address}normexp.js", timeout=20) as script:
                assert b"customElements.define" in script.read()
            listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
            port = f"{int(address.split(':')[2].strip('/')):04X}"
            hosts = set(re.findall(rf"\d+: ([0-9A-F]+):{port} 0+:0000 0A", listening))
            assert hosts
            assert hosts <= {"0100007F", "00000000000000000000000001000000"}
            taken = start("tensorboard", "runs", "--port", str(int(port, 16)))
            assert taken.returncode == 2
            assert "already in use" in taken.stderr
            assert "Traceback" not in taken.stderr
        finally:
            process.send_signal(signal.SIGINT)
            try:
                code = process.wait(timeout=30)
            finally:
                process.kill()
        assert code == 0


@needs_data
@pytest.mark.parametrize(
    ("words", "accuracy"),
    [
        (["data=mnist", "model=mlp", "epochs=2"], 0.97),
        (["data=cifar10", "data.verify=false", "model=resnet", "model.depth=8", "model.width=4", "steps=4"], 0.05),
    ],
)
def test_real_data(words, accuracy, capsys):
    assert main(["train", *words, f"data_dir={SHARED_DATA}"]) == 0
    assert read_status(the_run())["metrics"]["test/accuracy"] > accuracy


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
