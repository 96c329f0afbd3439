"""Looks of a claim as its runs are trained: which are trained when, and what a stop between two looks leaves."""

import io
import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from normexp.claims import grade, measure, runner
from normexp.claims.runner import Request, SharedSweep
from normexp.config import as_tree
from tests.sweeps.sweeping import wait_for

MINE = """\
kind: experiment
statement: An untrained network guesses.
source: nobody
seeds: 1-12
sweep:
  base: [model=mlp, model.width=8, data.train_size=100, steps=1, eval_every=1, "probe='off'", lr=1.0e-6]
  arms: {none: [norm=none]}
  axes: {activation: [relu, tanh]}
rule:
  - what: validation accuracy, at least negative
    measure: val/accuracy
    where: {activation: relu}
    compare: [none]
    as: value
    is: ">="
    confirm: -1
    refute: -2
  - what: validation accuracy
    measure: val/accuracy
    where: {activation: tanh}
    compare: [none]
    as: value
    is: ">="
    confirm: 0.1
    refute: 0.0999
"""


@pytest.fixture(autouse=True)
def _own_claim(tmp_path, monkeypatch):
    monkeypatch.setattr(grade, "SEEN", "seen.jsonl")
    (tmp_path / "own" / "claim").mkdir(parents=True)
    write(MINE)


def write(text):
    Path("own/claim/mine.yaml").write_text(text, encoding="utf-8")


class Trainer:
    """Stands for training: remembers the runs, which have made-up accuracies. stop: raise an error at this round."""

    def __init__(self, monkeypatch):
        self.rounds, self.runs, self.stop = [], {}, None
        trainer = self

        def train(self, grid):
            if len(trainer.rounds) == trainer.stop:
                raise KeyboardInterrupt
            trainer.rounds.append([planned.name for planned in grid])
            for planned in grid:
                trainer.runs[planned.name] = trainer.result(planned)

        monkeypatch.setattr(SharedSweep, "_train", train)
        monkeypatch.setattr(measure, "read_run", lambda path, name: self.runs[name] if name in self.runs else missing())

    def result(self, planned):
        config = planned.config
        accuracy = 0.12 + 0.05 * (-1) ** config.seed
        tree = {**as_tree(config), "data": "digits", "steps": 1}
        return SimpleNamespace(
            name=planned.name,
            state="completed",
            metrics={"val/accuracy": accuracy},
            config=tree,
            status={"seconds": 1.0},
        )

    def seeds(self, activation):
        return [
            sorted(int(name.rpartition("=")[2]) for name in names if f"activation={activation}" in name)
            for names in self.rounds
        ]


def missing():
    raise OSError


@pytest.fixture
def trainer(monkeypatch):
    return Trainer(monkeypatch)


def run(console=None, **options):
    fields = {
        "scale": "small",
        "quick": False,
        "again": False,
        "max_seeds": None,
        "overrides": [],
        "data_overrides": [],
    }
    fields |= {"names": ["mine"], "config_dir": Path("own"), "words": ["claims", "run", "mine"]}
    request = Request(**{**fields, **options})
    return runner.run(request, Path("runs/claims"), console or Console(quiet=True))


def judged():
    content = json.loads(Path("runs/claims/mine.json").read_text())
    return content["verdict"], content["conditions"], content["seeds"]


def test_only_undecided_cells_are_trained_further(trainer):
    (verdict,) = run().verdicts
    assert trainer.seeds("relu") == [[1, 2, 3, 4, 5], [], []]
    assert trainer.seeds("tanh") == [[1, 2, 3, 4, 5], [6, 7, 8], [9, 10, 11, 12]]
    assert (verdict.outcome, verdict.runs, verdict.max_seeds, len(verdict.seeds)) == ("undecided", 17, 12, 12)
    assert [cell.outcome for _, cell in verdict.cells] == ["confirmed", "undecided"]
    trainer.rounds.clear()
    run()
    assert trainer.rounds == []


@pytest.mark.parametrize(
    "stop", [pytest.param(0, marks=pytest.mark.long), *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))]
)
def test_a_stop_between_two_looks_changes_nothing(trainer, stop):
    run()
    whole = judged()
    Path("runs/claims/mine.json").unlink()
    trainer.runs.clear()
    trainer.rounds.clear()
    trainer.stop = stop
    with pytest.raises(KeyboardInterrupt):
        run()
    assert not Path("runs/claims/mine.json").exists()
    trainer.stop = None
    run()
    assert judged() == whole
    assert sum(map(len, trainer.rounds)) == 17  # none of them twice


CHOOSES = (
    MINE.replace("activation: [relu, tanh]", "lr: [0.1, 0.3, 1]")
    .replace(", lr=1.0e-6", "")
    .replace("    where: {activation: relu}\n", "    over: lr\n")
)


@pytest.mark.parametrize("stop", [None, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 2))])
def test_an_lr_is_chosen_first_and_then_judged(trainer, monkeypatch, stop):
    """Also where the command stops before the extension, or after it."""
    write(CHOOSES[: CHOOSES.rindex("  - what:")])
    accuracy = trainer.result

    def result(planned):
        run = accuracy(planned)
        run.metrics["val/accuracy"] += planned.config.lr if planned.config.lr < 2 else -1
        return run

    monkeypatch.setattr(trainer, "result", result)
    trainer.stop, printed = stop, io.StringIO()
    if stop is not None:
        with pytest.raises(KeyboardInterrupt):
            run()
        trainer.stop = None
    (verdict,) = run(Console(file=printed, width=200)).verdicts
    found = [[re.search(r"_lr=([0-9.]+)_.*seed=(\d+)", name).groups() for name in names] for names in trainer.rounds]
    assert [{(float(lr), int(seed)) for lr, seed in of_round} for of_round in found] == [
        {(lr, seed) for lr in (0.1, 0.3, 1.0) for seed in (13, 14, 15)},
        {(3.0, seed) for seed in (13, 14, 15)},
        {(1.0, seed) for seed in range(1, 6)},
    ]
    assert (verdict.outcome, verdict.runs, len(verdict.seeds)) == ("confirmed", 17, 5)
    reasons = [
        "none with 3 seeds to choose values; training 9",
        "a best value is the smallest or largest one tried; training 3",
        "with 5 seeds; training 5",
    ]
    for reason in reasons[: None if stop is None else 0]:
        assert reason in printed.getvalue()
    xs = dict(verdict.series[0].arms["none"])
    assert {x: len(ys) for x, ys in xs.items()} == {
        0.1: 3,
        0.3: 3,
        1: 8,
        3: 3,
    }  # the plot has the choosing seeds as well


@pytest.mark.long
def test_a_limit_on_the_seeds_can_be_raised_later(trainer):
    (verdict,) = run(max_seeds=5).verdicts
    assert (verdict.outcome, verdict.max_seeds, len(trainer.rounds)) == ("undecided", 5, 1)
    assert len(run(max_seeds=7).verdicts[0].seeds) == 5
    assert len(trainer.rounds) == 1
    assert run(max_seeds=8).verdicts[0].max_seeds == 8
    (verdict,) = run().verdicts
    assert (verdict.max_seeds, len(verdict.seeds)) == (12, 12)
    assert trainer.seeds("tanh") == [[1, 2, 3, 4, 5], [6, 7, 8], [9, 10, 11, 12]]
    run(max_seeds=5)
    assert len(trainer.rounds) == 3


@pytest.mark.long
def test_again_trains_every_run_once_more(trainer):
    run()
    first = trainer.rounds.copy()
    trainer.rounds.clear()
    run(again=True)
    assert trainer.rounds == first


def test_runs_without_a_result_are_reported(trainer, monkeypatch):
    monkeypatch.setattr(trainer, "result", lambda planned: SimpleNamespace(state="failed"))
    result = run()
    assert result.verdicts == []
    assert "10 of 10 runs have no result" in result.problems[0]
    assert len(trainer.rounds) == 1


@pytest.mark.long
def test_a_rule_that_changes_after_its_runs_is_exploratory(trainer):
    assert not run().verdicts[0].exploratory
    write(MINE.replace("confirm: 0.1", "confirm: 0.2"))
    (verdict,) = run().verdicts
    assert verdict.exploratory
    assert "the rule changed after its seeds were seen" in verdict.lacks
    assert len(trainer.rounds) == 3  # trained nothing
    seen = [json.loads(line) for line in Path("runs/claims/seen.jsonl").read_text().splitlines()]
    assert len({line["rule"] for line in seen}) == 2  # the second one, too, though nothing was trained for it
    write(MINE.replace("confirm: 0.1", "confirm: 0.2").replace("1-12", "101-112"))
    assert not run().verdicts[0].exploratory
    write(MINE)
    assert not run().verdicts[0].exploratory


def test_an_added_value_that_no_network_can_have_is_left_out(trainer, monkeypatch):
    """Dropout is best at 0.6, the end of its range: the next value would be 1.8."""
    write(
        MINE.replace("activation: [relu, tanh]", "dropout: [0.2, 0.6]")
        .replace("    where: {activation: relu}\n", "    over: dropout\n")
        .replace("    where: {activation: tanh}\n", "    over: dropout\n")
    )
    accuracy = trainer.result

    def result(planned):
        run = accuracy(planned)
        run.metrics["val/accuracy"] += planned.config.dropout
        return run

    monkeypatch.setattr(trainer, "result", result)
    (verdict,) = run().verdicts
    assert verdict.outcome == "confirmed"
    assert {cell.chosen["none"]["dropout"] for _, cell in verdict.cells} == {0.6}
    assert not any("dropout=1" in name for name in trainer.runs)
    assert math.isfinite(verdict.conditions[0].cells[0].effect)


def begin():
    words = [sys.executable, "-m", "normexp", "claims", "run", "mine", "--config-dir", "own", "jobs=1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(words, **pipes, start_new_session=True)


@pytest.mark.long
def test_a_killed_claim_goes_on_where_it_was():
    """The process and its workers are killed in the second look."""
    process = begin()
    wait_for(lambda: list(Path("runs").glob("claims/*/*tanh*_seed=6")))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not Path("runs/claims/mine.json").exists()
    done = {path: path.stat().st_mtime_ns for path in Path("runs").glob("claims/*/*_seed=[1-5]/status.json")}
    assert len(done) == 10
    printed, _ = begin().communicate(timeout=120)
    assert "mine: undecided" in printed
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in done.items())
    resumed = judged()
    Path("runs").rename("killed")
    begin().communicate(timeout=120)
    assert judged() == resumed
