"""Choices and experiments in a user's config folder (`--config-dir`): which files are read, and what they set."""

from pathlib import Path

import pytest
import yaml

from normexp.cli import main
from normexp.norms import NORMS
from normexp.report.groups import group
from normexp.report.read import read
from tests.compose.config_folder import GLOBAL, refused, write
from tests.sweeps.sweeping import SHORT, states


@pytest.mark.parametrize(
    ("choice", "expected"), [("experiment=tiny", ["name: gn"]), ("norm=slow_bn", ["momentum: 0.01", "eps: 1.0e-05"])]
)
def test_choices_of_ones_own(choice, expected):
    overrides = "defaults:\n  - override /norm: gn\n  - override /model: mlp\nsteps: 3\nmodel: {width: 8}\n"
    write("experiment/tiny.yaml", GLOBAL + overrides)
    write("norm/slow_bn.yaml", "defaults: [bn]\nmomentum: 0.01\n")  # which takes over what it does not set
    assert main(["train", choice, "--config-dir", "own", "steps=2", "name=x"]) == 0
    stored = Path("runs/x/config.yaml").read_text()
    assert all(line in stored for line in expected)


def test_what_editors_leave_behind_is_ignored(capsys):
    write("norm/mine.yaml", "defaults: [bn]\nmomentum: 0.5\n")
    Path("own/norm/.#mine.yaml").symlink_to("someone@somewhere.1234")
    Path("own/norm/.hidden.yaml").write_text("momentum: [\n")
    Path("own/norm/bn.yaml").symlink_to("nowhere")
    Path("own/norm/ln.yaml").mkdir()
    Path("own/norm/folder.yaml").mkdir()
    Path("own/claim/mine.yaml").mkdir(parents=True)
    words = ["train", "--config-dir", "own"]
    assert main([*words, "norm=mine", "--cfg", "job"]) == 0
    assert "momentum: 0.5" in capsys.readouterr().out
    assert main([*words, "--help"]) == 0
    names = ", ".join(sorted([*NORMS, "mine"]))
    assert names in " ".join(capsys.readouterr().out.split())
    assert f"norm is one of {names}." in refused(capsys, *words, "norm=.hidden")
    assert "at least one value is needed" in refused(capsys, *words, "-m", "norm=glob(.h*)")
    assert main(["claims", "--config-dir", "own"]) == 0
    assert "mine" not in capsys.readouterr().out


def test_files_in_another_encoding_are_named(capsys):
    write("norm/mine.yaml", "defaults: [bn]\n")
    Path("own/norm/mine.yaml").write_bytes("defaults: [bn]  # größer\n".encode("latin-1"))
    for flags in ([], ["-m"], ["--cfg", "job"], ["--info"]):
        says = refused(capsys, "train", "--config-dir", "own", "norm=mine", *flags)
        assert "own/norm/mine.yaml must be encoded in UTF-8." in says


def test_a_byte_order_mark_is_accepted(capsys):
    (Path("own") / "experiment").mkdir(parents=True)
    Path("own/experiment/mine.yaml").write_text(f"{GLOBAL}lr: 0.25\n", encoding="utf-8-sig")
    assert main(["train", "--config-dir", "own", "experiment=mine", "--cfg", "job"]) == 0
    assert "\nlr: 0.25\n" in capsys.readouterr().out


def test_comments_and_windows_line_ends_are_accepted(capsys):
    write("norm/mine.yaml", "")
    Path("own/norm/mine.yaml").write_bytes(b"\xef\xbb\xbfdefaults: [bn]\r\nmomentum: 0.5\r\n")
    write("experiment/mine.yaml", "")
    Path("own/experiment/mine.yaml").write_bytes(b"# By me.\r\n\r\n# @package _global_\r\nlr: 0.25\r\n")
    assert main(["train", "--config-dir", "own", "experiment=mine", "norm=mine", "--cfg", "job"]) == 0
    printed = capsys.readouterr().out
    assert "\nlr: 0.25\n" in printed
    assert "momentum: 0.5\n" in printed


def test_a_bad_file_blocks_only_its_own_choice(capsys):
    write("norm/bn.yaml", "defaults: [gn]\n")
    write("norm/bad.yaml", "momentum: [\n")
    words = ["train", "--config-dir", "own", *SHORT, "steps=1", "jobs=1"]
    assert main([*words, "norm=ln", "name=run"]) == 0
    assert main([*words, "norm=ln,gn", "-m", "name=sweep"]) == 0
    assert set(states("runs/sweep").values()) == {"completed"}
    assert main([*words, "norm=bad"]) == 2
    assert "bad.yaml, line 2: invalid yaml" in capsys.readouterr().err


def test_a_choice_of_ones_own_keeps_its_name(capsys):
    write("norm/slow_bn.yaml", "defaults: [bn]\nmomentum: 0.01\n")
    words = ["train", "--config-dir", "own", *SHORT, "steps=1", "jobs=1"]
    assert main([*words, "norm=bn,slow_bn", "-m", "name=sweep"]) == 0
    assert main([*words, "norm=slow_bn", "name=run"]) == 0
    stored = yaml.safe_load(Path("runs/run/config.yaml").read_text())
    assert (stored["norm"]["name"], stored["own_choices"]) == ("bn", ["norm=slow_bn"])
    plain = main([*words, "norm=bn", "name=plain"])
    assert (plain, "own_choices" in Path("runs/plain/config.yaml").read_text()) == (0, False)
    grouping = group(read([Path("runs/sweep")]).runs)
    assert [each.label for each in grouping.groups] == ["norm=bn", "norm=slow_bn"]
    assert main(["resume", "runs/run", "steps=2"]) == 0
    capsys.readouterr()
    assert main(["runs"]) == 0
    assert "bn,slow_bn" in capsys.readouterr().out
    assert [run.config["norm"] for run in read([Path("runs/run")]).runs] == ["slow_bn"]


@pytest.mark.parametrize(
    "content",
    [
        "- lr\n- 0.1\n",
        "just text\n",
        "# @package\nlr: 1\n",
        "defaults: norm\n",
        "defaults: [{norm: 1}]\n",
        "defaults: [{1: x}]\n",
        "defaults: [{a: x, b: y}]\n",
        "defaults: [1]\n",
        "lr: \0\n",
        "hydra: null\n",
        "hydra: '${lr}'\n",
        "hydra: {launcher: null}\n",
        "hydra: {sweeper: 1}\n",
        "hydra: {runtime: null}\n",
        "hydra: {overrides: {hydra: null}}\n",
        "hydra: {job: null}\n",
        "null: 2\n",
        "1: 2\n",
        "lr: &a [*a]\n",
    ],
)
def test_files_that_make_no_sense_get_one_sentence(content, capsys):
    write("experiment/mine.yaml", content if content.startswith("# @") else GLOBAL + content)
    refused(capsys, "train", "--config-dir", "own", "experiment=mine", "steps=1")
    refused(capsys, "train", "--config-dir", "own", "experiment=mine", "steps=1", "-m")
