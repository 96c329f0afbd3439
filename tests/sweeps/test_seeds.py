"""`seeds=N`, short for a sweep over N seeds."""

import json
from pathlib import Path

import pytest

from normexp.cli import main
from normexp.commands.completion import candidates
from tests.sweeps.sweeping import SHORT, stamps, states


@pytest.mark.long
def test_it_is_short_for_a_sweep_over_seeds(capsys):
    words = [*SHORT, "jobs=1", "steps=1", "name=s"]
    assert main(["train", "seeds=2", *words]) == 0
    assert sorted(name[-6:] for name in states("runs/s")) == ["seed=0", "seed=1"]
    stored = ["-m", "seed=0,1", *words]
    assert json.loads(Path("runs/s/sweep.json").read_text())["arguments"] == [stored]
    before = stamps("runs/s")
    assert main(["resume", "runs/s"]) == 0
    assert main(["train", *stored]) == 0
    assert stamps("runs/s") == before


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "a", "", "2,3", "1001", "9" * 5000, "[1]"])
def test_values_that_it_refuses(value, capsys):
    assert main(["train", f"seeds={value}"]) == 2
    error = capsys.readouterr().err
    assert "seeds must be an integer from 1 to 1000" in error
    assert len(error.splitlines()) == 1
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [(["seed=1"], "leave out the other"), (["seeds=3"], "leave out the other"), (["--cfg", "job"], "use seed=N")],
)
def test_what_it_can_not_be_combined_with(words, says, capsys):
    assert main(["train", "seeds=2", *words]) == 2
    assert says in capsys.readouterr().err


def test_help_and_completion_know_it(capsys):
    assert "seeds=" in candidates("normexp train see")
    assert main(["train", "--help"]) == 0
    assert "seeds=N" in capsys.readouterr().out
