"""Overrides reach the run exactly as typed, and printed commands work when pasted into a shell."""

import shlex
from pathlib import Path

import pytest
import torch
import yaml

from normexp.cli import main
from normexp.compose.overrides import validate_overrides
from tests.conftest import compose
from tests.sweeps.sweeping import SHORT, states


@pytest.mark.parametrize("key", ["name", "runs_dir", "data_dir"])
@pytest.mark.parametrize("typed", ["1e3", "1_000", "0.10", "2024", "-0", "inf", "1E5", "+7", "null-1"])
def test_a_string_that_looks_like_a_number_is_kept(key, typed):
    assert getattr(compose(*validate_overrides([f"{key}={typed}"])), key) == typed


def test_names_that_look_like_numbers_are_those_of_directories(capsys):
    assert main(["train", *SHORT, "steps=1", "name=1e3", "runs_dir=1_0"]) == 0
    assert main(["train", "-m", *SHORT, "steps=1", "jobs=1", "name=2e3", "runs_dir=1_0", "seed=0,1"]) == 0
    assert sorted(path.name for path in Path("1_0").iterdir()) == ["1e3", "2e3"]
    assert yaml.safe_load(Path("1_0/1e3/config.yaml").read_text())["name"] == "1e3"
    assert len(states("1_0/2e3")) == 2


def test_an_experiment_of_ones_own_may_have_a_number_for_a_name(capsys):
    path = Path("own/experiment/1e3.yaml")
    path.parent.mkdir(parents=True)
    path.write_text("# @package _global_\nlr: 0.75\n")
    assert main(["train", "--config-dir", "own", "--cfg", "job", "experiment=1e3"]) == 0
    assert "lr: 0.75" in capsys.readouterr().out


def test_the_defaults_of_experiment_and_debug_can_be_given(capsys):
    defaults = ["experiment=null", "debug=null"]
    assert main(["train", *SHORT, "steps=1", "name=a", *defaults]) == 0
    assert main(["train", "-m", *SHORT, "steps=1", "jobs=1", "name=s", "seed=0,1", *defaults]) == 0
    assert len(states("runs/s")) == 2
    assert main(["train", "-m", "debug=null,fast"]) == 2
    assert main(["train", "+debug=null"]) == 2


def commands(printed):
    """The arguments of each printed command."""
    return [shlex.split(line[line.index("normexp ") :]) for line in printed.splitlines() if "  normexp " in line]


@pytest.mark.long
@pytest.mark.parametrize("folder", ["two words", "it's; $HOME & (more)"])
def test_printed_commands_can_be_pasted(folder, capsys, monkeypatch):
    Path(folder).mkdir()
    monkeypatch.chdir(folder)
    runs = Path("my runs")
    assert main(["train", *SHORT, "steps=2", "name=a b", "runs_dir=my runs"]) == 0
    assert main(["train", "-m", *SHORT, "steps=2", "jobs=1", "name=s 1", "runs_dir=my runs", "seed=0,1"]) == 0
    for words in (["runs", "my runs"], ["report", "my runs/s 1"]):
        assert main(words) == 0
    found = commands(capsys.readouterr().out)
    assert {words[1] for words in found} >= {"report", "tensorboard"}
    for words in found:
        assert Path(words[2]).is_dir()
    assert main(["resume", "my runs/a b"]) == 0
    (words,) = (shlex.split(line.split("To extend it: ")[1]) for line in capsys.readouterr().out.splitlines())
    assert words[:4] == ["normexp", "resume", str(runs / "a b"), "epochs=N"]
    assert main(["lr=0.1", "name=a b"]) == 2
    assert "normexp train lr=0.1 'name=a b'" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_run_that_fails_before_it_trains_has_its_config(capsys):
    assert main(["train", "-m", *SHORT, "steps=2", "jobs=1", "name=s", "seed=3,4", "device=cuda"]) == 1
    assert list(states("runs/s").values()) == ["failed", "failed"]
    for path in Path("runs/s").glob("*/status.json"):
        config = yaml.safe_load(path.with_name("config.yaml").read_text())
        assert (f"seed={config['seed']}" in path.parent.name, config["device"]) == (True, "cuda")
