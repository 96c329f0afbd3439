"""A run that was stopped and resumed ends bit for bit as an undisturbed one."""

import json
import signal
from pathlib import Path

import pytest
import torch
from same_runs import bitwise_equal, differences, event_summaries

from normexp.models import MODELS
from normexp.norms import NORMS
from normexp.rundir import read_metrics, read_status
from normexp.training import checkpoint, trainer
from tests.conftest import MAPS_ONLY
from tests.training.short import resume, terminate, train

EVERY = "checkpoint_every=5"


def assert_same(one, two):
    """Assert that two run directories differ only in times."""
    assert differences(one, two) == []


class Power(BaseException):
    """Simulates a power cut within one process."""


def cut():
    raise Power


FIRST_NORMS = ("none", "bn", "ln", "in", "gn")
FIRST = [("mlp", "bn"), ("resnet", "bn"), ("rnn", "bn"), ("cnn", "none"), ("cnn", "brn"), ("cnn", "sn")]


@pytest.mark.parametrize(
    ("model", "norm"),
    [
        pytest.param(
            m, n, marks=() if (m, n) in FIRST else pytest.mark.long if m == "cnn" or n == "bn" else pytest.mark.slow
        )
        for m in MODELS
        for n in NORMS
        if (n in FIRST_NORMS[: 2 if m in ("vgg", "vit") else 5] or m == "cnn")
        and (m not in ("mlp", "rnn") or n not in MAPS_ONLY)
    ],
    ids=lambda name: name,
)
def test_resuming_gives_the_same_result_for_every_model_and_norm(tmp_path, at_step, model, norm):
    overrides = [f"model={model}", f"norm={norm}", "probe=full", "dropout=0.2", "optim=adamw", EVERY]
    overrides += ["model.depth=8", "model.width=4"] if model == "resnet" else []
    whole = train(tmp_path / "whole", *overrides).directory
    at_step(8, terminate)
    stopped = train(tmp_path / "stopped", *overrides)
    assert (stopped.state, stopped.signal) == ("interrupted", signal.SIGTERM)
    assert read_status(stopped.directory)["step"] == 8
    assert resume(stopped.directory, *overrides).state == "completed"
    assert_same(whole, stopped.directory)


CADENCES = pytest.mark.parametrize(
    "overrides",
    [
        [
            "data.augment=[crop,flip]",
            "dropout=0.1",
            "probe=full",
            "probe.every=3",
            "schedule=onecycle",
            "batch_size=90",
        ],
        [
            "log_every=7",
            "eval_every=5",
            "probe=landscape",
            "probe.landscape_every=4",
            "grad_clip=0.5",
            "probe.noise=true",
        ],
    ],
    ids=["augmented", "odd cadences"],
)


@CADENCES
def test_resuming_again_and_again_gives_the_same_result(tmp_path, at_step, overrides):
    """Stopped after every other step, which together are all; any single one: below."""
    first, *steps = range(1 + ("log_every=7" in overrides), 12, 2)
    whole = train(tmp_path / "whole", *overrides).directory
    at_step(first, terminate)
    stopped = train(tmp_path / "stopped", *overrides)
    for step in steps:
        assert read_status(stopped.directory)["step"] == step - 2
        at_step(step, terminate)
        assert resume(stopped.directory, *overrides).state == "interrupted"
    assert resume(stopped.directory, *overrides).state == "completed"
    assert_same(whole, stopped.directory)


@pytest.mark.slow
@CADENCES
@pytest.mark.parametrize("step", range(1, 13))
def test_resuming_after_any_step_gives_the_same_result(tmp_path, at_step, overrides, step):
    whole = train(tmp_path / "whole", *overrides).directory
    at_step(step, terminate)
    stopped = train(tmp_path / "stopped", *overrides)
    resume(stopped.directory, *overrides)
    assert_same(whole, stopped.directory)


def test_a_killed_run_resumes_from_its_last_checkpoint(tmp_path, at_step):
    whole = train(tmp_path / "whole", EVERY).directory
    for step in (8, 9, 11):  # cut three times, each time behind the checkpoint of step 5 or 10
        at_step(step, cut)
        with pytest.raises(Power):
            train(tmp_path / "cut", EVERY) if step == 8 else resume(tmp_path / "cut" / "run", EVERY)
    assert checkpoint.load(tmp_path / "cut" / "run" / "checkpoint.pt")["step"] == 10
    resume(tmp_path / "cut" / "run", EVERY)
    assert_same(whole, tmp_path / "cut" / "run")


def test_checkpoint_times_do_not_change_the_result(tmp_path):
    often = train(tmp_path / "often", "checkpoint_every=1", "log_every=5").directory
    never = train(tmp_path / "never", "checkpoint_every=null", "log_every=5").directory
    assert_same(often, never)


def test_an_interrupted_evaluation_is_repeated(tmp_path, monkeypatch):
    """On a slow machine, an evaluation takes too long to finish it after Ctrl-C."""
    whole = train(tmp_path / "whole").directory
    real, count = trainer.evaluate_with_batch_statistics, iter(range(100))

    def evaluate(model, split, batch_size, interrupted):
        if next(count) == 1:  # that of step 6, after the plain one
            terminate()
        return real(model, split, batch_size, interrupted)

    monkeypatch.setattr(trainer, "evaluate_with_batch_statistics", evaluate)
    stopped = train(tmp_path / "stopped")
    assert stopped.state == "interrupted"
    assert [entry["step"] for entry in read_metrics(stopped.directory)] == [0, 1, 4, 5]
    resume(stopped.directory)
    assert_same(whole, stopped.directory)


def test_a_second_signal_stops_at_once(tmp_path, at_step):
    def twice():
        terminate()
        terminate()

    at_step(8, twice)
    stopped = train(tmp_path, EVERY)
    assert (stopped.state, stopped.signal) == ("interrupted", signal.SIGTERM)
    assert checkpoint.load(stopped.directory / "checkpoint.pt")["step"] == 5
    assert resume(stopped.directory, EVERY).state == "completed"


def test_a_resumed_run_diverges_in_the_same_step(tmp_path, at_step):
    overrides = ["lr=1e4", "norm=none", "log_every=100", "eval_every=100", "probe=off", "steps=300", "activation=gelu"]
    whole = train(tmp_path / "whole", *overrides).directory
    assert read_status(whole)["state"] == "diverged"
    at_step(40, terminate)
    stopped = train(tmp_path / "stopped", *overrides, "checkpoint_every=7").directory
    resume(stopped, *overrides)
    assert read_status(whole)["error"] == read_status(stopped)["error"]
    assert read_status(whole)["step"] == read_status(stopped)["step"]


def test_an_extended_run_with_constant_lr_equals_a_longer_run(tmp_path):
    short = train(tmp_path / "short", "schedule=constant").directory
    resume(short, "schedule=constant", "steps=18")
    long = train(tmp_path / "long", "schedule=constant", "steps=18").directory
    weights = [checkpoint.load(path / "checkpoint.pt")["model"] for path in (short, long)]
    assert bitwise_equal(*weights)
    assert [entry["step"] for entry in read_metrics(short)] == [0, 1, 4, 5, 6, 8, 10, 12, 15, 16, 18]
    assert read_status(short)["metrics"]["test/accuracy"] == read_status(long)["metrics"]["test/accuracy"]


def test_a_missing_event_file_does_not_prevent_resuming(tmp_path, at_step):
    at_step(8, terminate)
    directory = train(tmp_path).directory
    for path in directory.glob("events.out.tfevents.*"):
        path.unlink()
    assert resume(directory).state == "completed"
    assert min(step for step, tag, _ in event_summaries(directory) if tag == "train/loss") == 12
    assert "event file is missing or truncated" in (directory / "train.log").read_text()


def test_tensorboard_sees_one_clean_curve(tmp_path, at_step):
    """Also a TensorBoard that has read beyond the checkpoint: the new file's name sorts after the old one's."""
    at_step(11, cut)
    with pytest.raises(Power):
        train(tmp_path, EVERY, "log_every=1")
    (old,) = (tmp_path / "run").glob("events.out.tfevents.*")
    late = Path(tmp_path / "run" / "events.out.tfevents.9999999990.7")  # the clock has been set back since
    old.rename(late)
    resume(tmp_path / "run", EVERY, "log_every=1")
    (new,) = (tmp_path / "run").glob("events.out.tfevents.*")
    assert new.name > late.name
    steps = [step for step, tag, _ in event_summaries(tmp_path / "run") if tag == "train/loss"]
    assert steps == list(range(1, 13))


def test_a_resume_is_recorded_in_the_environment(tmp_path, at_step):
    at_step(8, terminate)
    directory = train(tmp_path).directory
    begun = json.loads((directory / "environment.json").read_text())
    started = read_status(directory)["started"]
    resume(directory)
    environment = json.loads((directory / "environment.json").read_text())
    (resumed,) = environment.pop("resumed")
    assert environment == begun
    assert resumed["step"] == 8
    assert resumed["packages"] == begun["packages"]
    assert read_status(directory)["started"] == started
    assert not list(directory.glob(".*.tmp"))


def test_temporary_files_of_killed_processes_are_removed(tmp_path, at_step):
    at_step(8, terminate)
    directory = train(tmp_path).directory
    (directory / ".checkpoint.pt.4242.tmp").write_bytes(b"half")
    resume(directory)
    assert not list(directory.glob(".*"))


def test_seconds_are_those_of_training(tmp_path, monkeypatch):
    """Neither the work before the first step nor an interrupted evaluation counts."""
    from normexp.training.state import Stopwatch

    watch = Stopwatch(torch.device("cpu"))
    watch.load_state_dict({"seconds": 100.0, "lap": 10.0})
    monkeypatch.setattr("time.perf_counter", lambda: 5000.0)
    watch.start()
    with pytest.raises(KeyError), watch.paused():
        monkeypatch.setattr("time.perf_counter", lambda: 6000.0)
        raise KeyError
    monkeypatch.setattr("time.perf_counter", lambda: 6001.0)
    assert (watch.seconds(), watch.lap()) == (101.0, 11.0)
