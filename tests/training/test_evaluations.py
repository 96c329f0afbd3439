"""When a run is evaluated, on which samples, and that neither changes what is trained."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from same_runs import bitwise_equal

from normexp.compose.validate import validate
from normexp.data import Sizes
from normexp.data.splits import sample
from normexp.rundir import read_config, read_metrics, read_status
from normexp.training import checkpoint, trainer
from normexp.training.build import build
from normexp.training.evaluate import MAX_EVALUATIONS, evaluate, evaluation_steps
from tests.conftest import compose
from tests.training.short import SMALL, resume, terminate, train, train_and_record

AUTO = ["model=mlp", "model.width=16", "eval_every=auto", "eval_samples=40", "probe.early=3"]


def steps(every, total, per_epoch=100):
    return evaluation_steps(every, Sizes(train=6400, val=100, steps_per_epoch=per_epoch, total_steps=total))


@given(st.integers(1, 10**9))
def test_auto_is_dense_at_the_beginning_and_has_few_steps(total):
    auto = list(steps("auto", total))
    assert (auto[0], auto[-1]) == (1, total)
    assert len(auto) <= MAX_EVALUATIONS
    gaps = [b - a for a, b in pairwise([0, *auto])]
    assert all(a <= b + 1 for a, b in pairwise(gaps))  # rounded
    if total >= 1000:
        assert len(auto) >= 20
        assert sum(step <= total / 10 for step in auto) >= 8


def test_auto_tells_apart_runs_that_learn_after_some_hundred_steps():
    auto = [step for step in steps("auto", 2529) if 100 <= step <= 843]
    assert len(auto) >= 8
    assert all(b / a < 1.4 for a, b in pairwise(auto))


@pytest.mark.parametrize(("every", "expected"), [(30, [30, 60, 90, 120, 150]), (None, [100]), (200, []), (170, [170])])
def test_intervals_as_ever(every, expected):
    assert list(steps(every, 170)) == expected


def test_all_evaluations_but_the_last_use_the_sample(monkeypatch):
    evaluated = []

    def evaluate_and_note(model, split, interrupted):
        evaluated.append(split)
        return evaluate(model, split, interrupted)

    monkeypatch.setattr(trainer, "evaluate", evaluate_and_note)
    records, parts, outcome = train_and_record(*AUTO)
    assert outcome.state == "completed"
    whole, part, test = parts.data.val, parts.val_sample, parts.data.test
    assert len(part) == 40
    *before, last = [r for r in records if "val/accuracy" in r.scalars]
    assert [id(split) for split in evaluated] == [*(id(part) for _ in before), id(whole), id(part), id(test)]
    assert all(round(40 * r.scalars["val/accuracy"], 6).is_integer() for r in before)
    assert last.scalars["val/accuracy"] == evaluate(parts.model, whole)[1]
    accuracies = [*(r.scalars["val/accuracy"] for r in before), evaluate(parts.model, part)[1]]
    assert last.scalars["convergence/best_accuracy"] == max(accuracies)


def test_eval_samples_null_and_too_many_samples_are_the_whole_split():
    for value in ("null", "145", "144"):
        parts = build(compose(*SMALL, f"eval_samples={value}"))
        assert parts.val_sample is parts.data.val


def test_batch_statistics_at_every_fourth_evaluation_only_with_auto():
    tag = "val/accuracy_batch_statistics"
    records, *_ = train_and_record("eval_every=auto", "steps=10")
    assert [r.step for r in records if tag in r.scalars] == [0, 4, 8, 10]
    records, *_ = train_and_record("eval_every=1", "steps=4")
    assert [r.step for r in records if tag in r.scalars] == [0, 1, 2, 3, 4]


def test_evaluations_change_nothing_that_is_trained(tmp_path):
    network = ["model=mlp", "model.width=16", "norm=bn", "dropout=0.2", "noise=0.1", "data.augment=[crop]"]
    every = [[], AUTO, ["eval_every=1", "eval_samples=null", "probe=off"]]
    directories = [train(tmp_path / str(i), *network, *words).directory for i, words in enumerate(every)]
    weights = [checkpoint.load(directory / "checkpoint.pt")["model"] for directory in directories]
    assert all(bitwise_equal(weights[0], other) for other in weights[1:])
    usual, auto, _ = ({entry["step"]: entry for entry in read_metrics(directory)} for directory in directories)
    for step, entry in usual.items():
        assert entry.get("train/loss") == auto[step].get("train/loss")
        assert entry.get("test/loss") == auto[step].get("test/loss")
    assert usual[12]["val/loss"] == auto[12]["val/loss"]


def test_a_resumed_run_is_evaluated_as_if_it_had_not_been_stopped(tmp_path, at_step):
    whole = train(tmp_path / "whole", *AUTO).directory
    at_step(5, terminate)
    stopped = train(tmp_path / "stopped", *AUTO)
    assert stopped.state == "interrupted"
    assert (stopped.evaluated, stopped.eval_samples) == (4, 40)  # that of step 5 was not finished
    resume(stopped.directory, *AUTO)
    lines = [
        [{tag: value for tag, value in entry.items() if "second" not in tag} for entry in read_metrics(directory)]
        for directory in (whole, stopped.directory)
    ]
    assert lines[0] == lines[1]


def test_the_initial_accuracy_is_not_the_result_of_an_interrupted_run(tmp_path, at_step):
    at_step(3, terminate)
    stopped = train(tmp_path)
    assert not [tag for tag in stopped.metrics if tag.startswith("val/")]
    assert not [tag for tag in read_status(stopped.directory)["metrics"] if tag.startswith("val/")]
    assert "val/accuracy" in read_metrics(stopped.directory)[0]


@pytest.mark.parametrize(("every", "state"), [("auto", "completed"), ("1", "diverged")])
def test_an_overflow_in_an_early_evaluation_is_no_divergence(monkeypatch, every, state):
    """As that of a deep network whose running variances are still far too small."""

    def overflow(model, split, interrupted):
        return (math.nan, 0.1) if len(split) == 40 else evaluate(model, split, interrupted)

    monkeypatch.setattr(trainer, "evaluate", overflow)
    _, _, outcome = train_and_record(f"eval_every={every}", "eval_samples=40", "steps=6")
    assert outcome.state == state


def test_a_config_from_before_these_keys_means_all_samples_and_no_early_snapshots(tmp_path):
    tree = read_config(train(tmp_path, "eval_every=6").directory)
    del tree["eval_samples"], tree["probe"]["early"]
    config = validate(tree)
    assert (config.eval_every, config.eval_samples, config.probe.early) == (6, None, 0)


def test_the_sample_has_the_proportions_of_the_classes_and_the_images_of_its_labels():
    split = build(compose("data=digits", "data.val_size=0.5")).data.val
    part = sample(split, 200, seed=3)
    shares = torch.bincount(split.labels, minlength=10) * 200 / len(split)
    assert (torch.bincount(part.labels, minlength=10) - shares).abs().max() < 1
    images = {image.numpy().tobytes(): int(label) for image, label in zip(split.images, split.labels, strict=True)}
    assert [images[image.numpy().tobytes()] for image in part.images] == part.labels.tolist()
    assert len({image.numpy().tobytes() for image in part.images}) > 190  # a few may be equal
