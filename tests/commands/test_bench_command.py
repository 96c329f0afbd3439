"""`normexp bench`, end to end."""

import gc
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from normexp.bench import measure
from normexp.cli import main
from normexp.commands import bench
from normexp.commands.completion import candidates
from tests.commands.shell import NORMEXP, start

TINY = ["model=mlp", "model.width=8", "data=digits", "batch_size=4", "--repeats", "2"]


def strict(text):
    return json.loads(text, parse_constant=pytest.fail)


@pytest.mark.long
def test_from_the_shell():
    done = start(
        "bench",
        *TINY,
        "norm=none,bn,ln,in,gn",
        "--json",
        "costs.json",
        "--figure",
        "costs.png",
        env={**os.environ, "COLUMNS": "80"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "skipped  mlp, in, batch 4: norm=in can't work" in done.stdout
    assert "numbers  costs.json\nfigure   costs.png\n" in done.stdout
    assert {path.name for path in Path().iterdir()} == {"costs.json", "costs.png"}
    content = strict(Path("costs.json").read_text())
    assert [each["norm"] for each in content["measured"]] == ["none", "bn", "ln", "gn"]
    assert content["environment"]["packages"]["torch"]
    assert content["overrides"] == [*(word for word in TINY if "=" in word), "norm=none,bn,ln,in,gn"]
    with Image.open("costs.png") as image:
        assert image.width > 900


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(measure, "MIN_BLOCK_SECONDS", 1e-4)


@pytest.mark.usefixtures("short")
def test_json_alone_on_standard_output(capsys):
    assert main(["bench", *TINY, "norm=bn", "--json", "-"]) == 0
    assert [each["norm"] for each in strict(capsys.readouterr().out)["measured"]] == ["none", "bn"]
    assert not list(Path().iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("suffix", ["svg", "PDF"])
def test_figures_in_other_formats_and_of_other_networks(suffix, capsys):
    words = ["model=cnn,resnet", "model.channels=[4]", "model.depth=8", "model.width=4", "data=digits"]
    words += ["batch_size=2,4"]
    assert main(["bench", *words, "norm.groups=2", "norm=none,bn,gn", "--repeats", "2", "--figure", f"f.{suffix}"]) == 0
    assert "cnn on digits (1x8x8), 1 thread\n" in capsys.readouterr().out
    assert Path(f"f.{suffix}").read_bytes()[:5] in (b"<?xml", b"%PDF-")


@pytest.mark.usefixtures("short")
def test_too_little_memory_is_a_reason_and_not_the_end(capsys, monkeypatch):
    real = measure.measure

    def measured(case, **options):
        if case.batch_size > 4:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return real(case, **options)

    monkeypatch.setattr(measure, "measure", measured)
    words = [word.replace("batch_size=4", "batch_size=4,8") for word in TINY]
    assert main(["bench", *words, "norm=bn"]) == 0
    assert "skipped  mlp, bn, batch 8: out of memory at batch_size=8." in capsys.readouterr().out
    words = [word.replace("batch_size=4", "batch_size=8") for word in TINY]
    assert main(["bench", *words, "norm=bn"]) == 2
    assert "out of memory at batch_size=8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--repeats", "1"], "--repeats 1: must be an integer from 2"),
        (["--repeats", "-3"], "--repeats -3: must"),
        (["--repeats"], "--repeats must be followed by a value"),
        (["--figure", "costs.jpg"], "the file name must end in .png, .svg, .pdf"),
        (["--figure", "nowhere/costs.png"], "the folder nowhere does not exist"),
        (["--json", "nowhere/costs.json"], "the folder nowhere does not exist"),
        (["--json", "."], "--json . is a folder"),
        (["--json", "x" * 300], "not a valid file name"),
        (["--jsn", "x"], "Unknown flag --jsn. Did you mean --json?"),
        (["-m"], "Unknown flag -m."),
        (["bn"], "Did you mean norm=bn?"),
        (["norm=bnn"], "Did you mean bn?"),
        (["model=mlp", "norm=in"], "norm=in can't work"),
        (["modle=mlp"], "Did you mean model?"),
        (["runs_dir=x"], "has no effect"),
    ],
)
def test_what_is_refused(words, says, capsys):
    assert main(["bench", *words]) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not list(Path().iterdir())


def test_bad_input_is_told_without_torch():
    code = (
        "import sys; from normexp.cli import main; code = main(['bench', 'model=mlp', 'norm=in']); "
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([NORMEXP[0], "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr


@pytest.mark.usefixtures("short")
def test_ctrl_c_ends_it_and_nothing_is_written(capsys, monkeypatch):
    real = measure.inference_block

    def pressed(*arguments):
        if not gc.isenabled():  # in a round, not while warming up
            os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(measure, "inference_block", pressed)
    assert main(["bench", *TINY, "--json", "costs.json"]) == 130
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "normexp: interrupted\n")
    assert gc.isenabled()
    assert not list(Path().iterdir())


def test_help_and_completion(capsys):
    assert main(["bench", "--help"]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert all(flag in printed for flag in bench.parser().flags if flag != "--help")
    assert candidates("normexp bench --f") == ["--figure"]
    assert candidates("normexp bench norm=bn,g") == ["norm=bn,gn"]
    assert candidates("normexp bench --json ") == []
    offered = candidates("normexp bench ")
    assert "model=" in offered and "dropout=" in offered
    assert "lr=" not in offered
