"""`normexp tensorboard`: its defaults, and the folders that it shows."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest

from normexp.cli import main
from normexp.commands import tensorboard
from tests.commands.shell import start


def test_the_script_changes_elements_that_tensorboard_has():
    import tensorboard as installed

    with zipfile.ZipFile(Path(installed.__file__).with_name("webfiles.zip")) as files:
        script = files.read("index.js").decode()
    for name in ("tf-custom-scalar-dashboard", "tf-scalar-dashboard", "tf-multi-checkbox"):
        assert f'"{name}"' in tensorboard.SCRIPT
        assert f'("{name}")' in script
    assert '"_smoothingWeight",{defaultValue:.6}' in script
    computed = '"computeOutSelected(namesMatchingRegex.*, selectionState.*)"'
    assert computed in script


@pytest.mark.parametrize(
    ("folders", "links"),
    [
        (["runs/none"], {"none"}),
        (["runs/none", "runs/bn"], {"none", "bn"}),
        (["runs/none", "runs/none"], {"none"}),
        (["runs/none", "old/none"], {"runs/none", "old/none"}),
        (["runs/sweep", "runs/sweep/a"], {"sweep"}),
    ],
)
def test_runs_are_named_by_the_shortest_path_that_tells_them_apart(folders, links):
    for folder in ("runs/none", "runs/bn", "old/none", "runs/sweep/a"):
        Path(folder).mkdir(parents=True)
        Path(folder, "status.json").touch()
    with tensorboard._log_folder([Path(folder) for folder in folders]) as folder:
        assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink()} == links
        assert all((folder / link).is_dir() for link in links)
    assert not folder.exists()


def test_a_folder_of_runs_is_read_where_it_is():
    Path("runs/none").mkdir(parents=True)
    with tensorboard._log_folder([Path("runs")]) as folder:
        assert folder == Path("runs")


@pytest.mark.parametrize(
    ("runs", "says"),
    [
        (0, "No runs yet"),
        (20, ""),
        (21, "21 runs. All pages but TIME SERIES show the first 20"),
        (501, "501 runs. TIME SERIES shows none at first, the others show the first 20"),
    ],
)
def test_very_many_runs_are_announced(runs, says):
    for i in range(runs):
        Path(f"runs/{i}").mkdir(parents=True)
        Path(f"runs/{i}/status.json").touch()
    Path("runs").mkdir(exist_ok=True)
    assert "\n".join(tensorboard._expectations([Path("runs")])).startswith(says)
    assert bool(list(tensorboard._expectations([Path("runs")]))) == bool(says)


@pytest.mark.parametrize(
    ("words", "folders", "flags"),
    [
        ([], ["runs"], []),
        (["a", "b", "--port", "7"], ["a", "b"], ["--port", "7"]),
        (["--port", "7", "a", "b"], ["a", "b"], ["--port", "7"]),
        (["--logdir", "a", "--port=7"], ["a"], ["--port=7"]),
        (["--port=7", "--logdir=a"], ["a"], ["--port=7"]),
        (["--bind_all"], ["runs"], ["--bind_all"]),
    ],
)
def test_folders_come_before_or_after_flags(words, folders, flags):
    for name in ("a", "b"):
        Path(name).mkdir()
    assert tensorboard._split(words) == ([Path(folder) for folder in folders], flags)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--prot", "6006"], "Unknown flag --prot. Did you mean --port?"),
        (["--port", "x"], "TensorBoard can't start: --port: invalid value: 'x'\n"),
        (["--port"], "TensorBoard can't start: --port: expected one argument\n"),
    ],
)
@pytest.mark.filterwarnings("ignore:html5lib's sanitizer is deprecated")
def test_wrong_flags_of_tensorboard_get_one_sentence(words, says, capsys):
    Path("runs").mkdir()
    assert main(["tensorboard", *words]) == 2
    assert capsys.readouterr().err.startswith(f"normexp: {says}")


def test_tensorboard_wants_a_folder(capsys):
    assert main(["tensorboard"]) == 2
    assert "runs does not exist" in capsys.readouterr().err


def test_tensorboard_serves_on_localhost_until_ctrl_c():
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
