"""Claims whose arms are later evaluations of the same runs."""

import json
from pathlib import Path

import pytest

from normexp.claims import evaluations
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
        ("eval.batch_size=101", "eval.batch_size=101: the test data has 100 samples"),
        ("eval.device=cpu", "say it in the command"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_trained(wrong, says, capsys):
    write(CLAIM.replace("eval.batch_size=10", wrong))
    assert claims("run", "mine", "jobs=1") == 2
    assert says in capsys.readouterr().err
    assert not Path("runs").exists() or not list(Path("runs").glob("**/status.json"))


@pytest.mark.long
def test_an_evaluation_that_only_some_networks_can_have():
    """A rule says where it applies; the figures leave out the rest."""
    nets = "axes:\n    net: {mlp: [model=mlp, model.width=16], cnn: [model=cnn, 'model.channels=[4]', 'norm.layers=[conv*]']}"
    text = (
        CLAIM.replace("axes: {}", nets)
        .replace("model=mlp, model.width=16, ", "", 1)
        .replace("batches of 10", "alone")
        .replace("batch_size=10", "batch_size=1")
    )
    text = text.replace('compare: ["noisy, alone", noisy]', 'compare: ["noisy, alone", noisy]\n    where: {net: cnn}')
    write(text)
    assert claims("run", "mine", "jobs=1") == 0
    conditions = json.loads(Path("runs/claims/mine.json").read_text())["conditions"]
    assert [len(condition["cells"]) for condition in conditions] == [2, 1, 2]


@pytest.mark.parametrize("measure", ["test/acc*", "test/accuracy\n    at: max"])
def test_a_measure_that_would_read_the_accuracy_of_the_training_is_refused(measure, capsys):
    write(CLAIM.replace("test/accuracy", measure, 1))
    assert claims("show", "mine") == 2
    assert "arms with eval.* must be test/accuracy or test/loss" in capsys.readouterr().err


def test_an_interrupted_evaluation_is_resumed(capsys, monkeypatch):
    write(CLAIM)
    evaluate, calls = evaluations.evaluate, []

    def stop_at_the_third(*words):
        calls.append(words)
        if len(calls) == 3:
            raise KeyboardInterrupt
        evaluate(*words)

    monkeypatch.setattr(evaluations, "evaluate", stop_at_the_third)
    assert claims("run", "mine", "jobs=1") == 130
    assert "resume    normexp claims run mine jobs=1 --config-dir own" in capsys.readouterr().out
    assert claims("run", "mine", "jobs=1") == 0
    assert "training 2 runs" not in capsys.readouterr().out
    assert len(calls) == 5  # two that are kept, the one that was interrupted, and the two that were missing


@pytest.mark.long
def test_damaged_evaluations(capsys):
    """A result without a loss has an undefined loss; a file that can't be read ends the claim instead of growing forever."""
    write(CLAIM.replace("test/accuracy", "test/loss"))
    assert claims("run", "mine", "jobs=1") == 0
    first, *_ = sorted(Path("runs/claims").glob("runs-*/*/evaluations.jsonl"))
    entries = read_evaluations(first.parent)
    first.write_text("".join(json.dumps({k: v for k, v in e.items() if k != "loss"}) + "\n" for e in entries))
    Path("runs/claims/mine.json").unlink()
    assert claims("run", "mine", "jobs=1") == 0
    values = json.loads(Path("runs/claims/mine.json").read_text())["conditions"][0]["cells"][0]["values"]
    assert values["noisy"][0] is None
    assert None not in values["clean"]
    with first.open("r+b") as file:
        file.truncate(100_000_001)
    Path("runs/claims/mine.json").unlink()
    assert claims("run", "mine", "jobs=1") == 2
    assert "evaluations.jsonl can't be read, or is too large" in capsys.readouterr().err
