"""Finished runs, changed configs, and objective values for an optimizer."""

import json
import math

import pytest

from normexp import NUMERICS, rundir
from normexp.rundir import lock, process
from normexp.sweeps.outcome import changed_keys, is_finished, objective_value, run_state, set_aside
from tests.conftest import compose
from tests.training.short import SMALL, train


def status(directory, state, **metrics):
    directory.mkdir(exist_ok=True)
    rundir.write_status(
        directory, state=state, step=1, total_steps=2, seconds=0, metrics=metrics, error=None, started=rundir.now()
    )
    return directory


def test_a_run_that_was_trained_is_done_until_its_config_changes(tmp_path):
    directory = train(tmp_path, "norm=gn").directory
    same = compose("steps=12", "log_every=4", "eval_every=6", "data.train_size=200", "probe.every=5", "norm=gn")
    assert is_finished(directory)
    assert changed_keys(directory, same) == []
    elsewhere = compose(
        *("steps=12", "log_every=4", "eval_every=6", "data.train_size=200", "probe.every=5", "norm=gn"),
        *("name=x", "runs_dir=y", "jobs=3", "threads=2", "device=cpu", "data_dir=z", "objective=val/loss"),
    )
    assert changed_keys(directory, elsewhere) == []
    other = compose(
        "steps=13", "log_every=4", "eval_every=6", "data.train_size=200", "probe.every=5", "norm=gn", "norm.groups=2"
    )
    assert changed_keys(directory, other) == ["norm.groups (4, now 2)", "steps (12, now 13)"]
    (directory / "config.yaml").write_text("norm: [")
    assert "config.yaml" in changed_keys(directory, same)[0]


def test_a_new_default_of_what_is_measured_repeats_no_finished_run(tmp_path):
    directory = train(tmp_path).directory
    words = [word for word in SMALL if not word.startswith("eval_every=")]
    assert "eval_every=6" in SMALL
    assert changed_keys(directory, compose(*words)) == []
    assert changed_keys(directory, compose(*words, "eval_every=3")) == ["eval_every (6, now 3)"]
    status(directory, "interrupted")
    assert len(changed_keys(directory, compose(*words))) == 1


def test_a_run_of_another_version_whose_numbers_differ_is_not_the_one_that_is_asked_for(tmp_path):
    directory = train(tmp_path).directory
    path = directory / "environment.json"
    made_with = json.loads(path.read_text())
    assert made_with["numerics"] == NUMERICS
    path.write_text(json.dumps({key: value for key, value in made_with.items() if key != "numerics"}))  # version 0.1
    assert changed_keys(directory, compose(*SMALL)) == [f"numerics (1, now {NUMERICS})"]
    path.unlink()  # nobody knows
    assert changed_keys(directory, compose(*SMALL)) == [f"numerics (1, now {NUMERICS})"]


@pytest.mark.parametrize(
    ("name", "is_end"),
    [("completed", True), ("diverged", True), ("failed", False), ("interrupted", False), ("skipped", False)],
)
def test_what_is_an_end(tmp_path, name, is_end):
    assert is_finished(status(tmp_path, name)) is is_end


def test_a_running_run_whose_process_is_gone_was_killed(tmp_path, monkeypatch):
    assert run_state(tmp_path) is None
    status(tmp_path, "running")
    assert run_state(tmp_path) == "running"
    monkeypatch.setattr(process, "alive", lambda who: False)
    assert run_state(tmp_path) == "killed"


def test_the_objective_of_what_has_no_result_is_the_worst_and_there_is_none_before_the_end(tmp_path):
    assert objective_value(status(tmp_path / "a", "completed", **{"val/accuracy": 0.5}), "val/accuracy") == 0.5
    assert objective_value(status(tmp_path / "b", "diverged", **{"val/accuracy": 0.5}), "val/accuracy") == 0.0
    assert objective_value(status(tmp_path / "b", "diverged"), "val/loss") == math.inf
    assert objective_value(status(tmp_path / "c", "failed"), "convergence/area_under_curve") == 0.0
    assert objective_value(status(tmp_path / "c", "skipped"), "val/loss") == math.inf
    assert math.isnan(objective_value(status(tmp_path / "d", "interrupted", **{"val/loss": 1.0}), "val/loss"))
    assert math.isnan(objective_value(tmp_path / "nowhere", "val/loss"))


def test_what_is_set_aside_stays_whole(tmp_path):
    run = status(tmp_path / "run", "completed")
    assert set_aside(run).name == "run-1"
    assert set_aside(status(tmp_path / "run", "diverged")).name == "run-2"
    assert run_state(tmp_path / ".replaced" / "run-1") == "completed"
    assert not run.exists()


def test_a_lock_ends_with_its_block_and_tells_who_holds_it(tmp_path):
    with lock.held(tmp_path, driver={"pid": 1}) as free:
        assert free
        with lock.held(tmp_path) as again:
            assert not again
        who = lock.holder(tmp_path)
        assert who["driver"] == {"pid": 1}
        assert process.alive(who)
    with lock.held(tmp_path) as free:
        assert free


def test_a_process_is_told_from_another_with_its_number():
    me = process.identity()
    assert process.alive(me) is True
    assert process.alive({**me, "began": me["began"] - 1}) is False
    assert process.alive({**me, "host": "elsewhere"}) is None
    for pid in (2**22 + 1, 2**80, -1, None, "1"):
        assert process.alive({**me, "pid": pid}) is False
