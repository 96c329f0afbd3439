"""Sweeps over a group, with keys that only some of its choices have."""

import json
from pathlib import Path

from normexp.cli import main
from normexp.rundir import read_config, write_status
from tests.sweeps.sweeping import SHORT, stamps, states

SWEEP = ["train", "-m", *SHORT, "jobs=1", "steps=1", "name=s"]


def test_a_key_applies_where_it_exists(capsys):
    assert main([*SWEEP, "norm=bn,none,gn", "norm.groups=2,4"]) == 0
    printed = capsys.readouterr().out
    assert "note: norm.groups is ignored for norm=bn,none, which lack it" in printed
    found = states("runs/s")
    assert set(found.values()) == {"completed"}
    assert sorted(name.partition("_data")[0] for name in found) == [
        *("norm=bn", "norm=gn_norm.groups=2", "norm=gn_norm.groups=4", "norm=none")
    ]
    (bn,) = Path("runs/s").glob("norm=bn*")
    assert "groups" not in read_config(bn)["norm"]

    before = stamps("runs/s")
    assert main([*SWEEP, "norm=bn"]) == 0  # plain bn is the same run
    assert stamps("runs/s") == before


def test_a_key_of_the_default_choice_is_ignored_elsewhere(capsys):
    assert main([*SWEEP, "model=cnn,mlp", "model.kernel=1", "model.depth=1", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "model.kernel is ignored for model=mlp, which lacks it" in printed
    assert "model.depth is ignored for model=cnn, which lacks it" in printed


def test_a_key_that_no_swept_choice_has_is_an_error(capsys):
    for words in (["norm=bn,ln"], ["seed=0,1"], ["norm=bn,ln", "lr=0.1,1"]):
        assert main([*SWEEP, *words, "norm.groups=2"]) == 2
        assert "norm.groups is a key of norm=gn and norm=evonorm only" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_wrong_value_is_an_error_though_only_some_choices_have_the_key(capsys):
    assert main([*SWEEP, "norm=bn,gn", "norm.groups=two"]) == 2
    assert "norm.groups=two" in capsys.readouterr().err


def test_skipped_runs_that_the_sweep_no_longer_has_are_dropped_from_reports(capsys):
    old = Path("runs/s/norm=bn_norm.groups=2")
    old.mkdir(parents=True)
    write_status(old, "skipped", "norm.groups is a key of norm=gn only.")
    assert main([*SWEEP, "model=mlp", "norm=bn,in"]) == 0
    assert "1 skipped" in (printed := capsys.readouterr().out)  # norm=in, which this command asks for
    assert "norm.groups" not in printed
    assert json.loads(Path("runs/s/sweep.json").read_text())["dropped"] == [old.name]
    for command in (["report", "runs/s"], ["runs", "runs/s"]):
        assert main(command) == 0
        assert "norm.groups" not in capsys.readouterr().out
