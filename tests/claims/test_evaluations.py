"""Claims whose arms are later evaluations of the same runs."""

import json
from pathlib import Path

import pytest

from normexp.cli import main
from normexp.rundir.evaluations import read_evaluations
from tests.commands.own_claim import claims, write

CLAIM = """\
kind: experiment
statement: Networks survive noise.
source: somebody
seeds: [1, 2]
sweep:
  base: [model=mlp, model.width=16, data.train_size=200, data.test_size=100, steps=10, eval_every=10, "probe='off'"]
  arms:
    clean: [norm=bn]
    noisy: [norm=bn, eval.shift=noise, eval.shift.severity=5]
    noisy, batches of 10: [norm=bn, eval.shift=noise, eval.shift.severity=5, eval.norm.statistics=batch, eval.batch_size=10]
  axes: {}
rule:
  - what: accuracy
    measure: test/accuracy
    compare: [noisy, clean]
    as: difference
    is: ">="
    confirm: 0.0
    refute: -0.01
  - what: accuracy in batches
    measure: test/accuracy
    compare: ["noisy, batches of 10", noisy]
    as: difference
    is: ">="
    confirm: 0.0
    refute: -0.01
  - what: validation accuracy is that of training
    measure: val/accuracy
    compare: [noisy, clean]
    as: difference
    is: ">="
    confirm: 0.5
    refute: 0.0
cost: seconds
"""


@pytest.mark.long
def test_runs_are_trained_once_and_evaluated_for_each_arm(capsys):
    write(CLAIM)
    assert claims("run", "mine", "jobs=1") == 0
    assert "training 2 runs" in capsys.readouterr().out
    folder = next(Path("runs/claims").glob("runs-*"))
    runs = sorted(path.parent for path in folder.glob("*/status.json"))
    assert len(runs) == 2
    conditions = json.loads(Path("runs/claims/mine.json").read_text())["conditions"]
    values = [condition["cells"][0]["values"] for condition in conditions]
    assert values[2]["noisy"] == values[2]["clean"]
    for seed, run in enumerate(runs):
        stored = read_evaluations(run)
        assert len(stored) == 2  # not again for the condition that reads it, too
        for words, value in (
            ([], values[0]["clean"]),
            (["shift=noise", "shift.severity=5"], values[0]["noisy"]),
            (
                ["shift=noise", "shift.severity=5", "norm.statistics=batch", "batch_size=10"],
                values[1]["noisy, batches of 10"],
            ),
        ):
            assert main(["eval", str(run), *words]) == 0
            assert read_evaluations(run)[-1]["accuracy"] == value[seed]
    assert len({value for of in values for arm in of.values() for value in arm}) > 4


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("eval.shift=nose", "shift is one of"),
        ("eval.shfit=noise", "Did you mean shift?"),
        ("eval.fold=true", "batch statistics can't be folded"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_trained(wrong, says, capsys):
    write(CLAIM.replace("eval.batch_size=10", wrong))
    assert claims("run", "mine", "jobs=1") == 2
    assert says in capsys.readouterr().err
    assert not Path("runs").exists() or not list(Path("runs").glob("**/status.json"))
