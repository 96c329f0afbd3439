"""Recomputed batch norm statistics match their formulas and change nothing but evaluations."""

from itertools import combinations

import pytest
import torch
from same_runs import differences
from torch import nn

from normexp.training import trainer
from normexp.training.build import build
from normexp.training.evaluate import StoppedError, evaluate, evaluation_statistics, recomputed_statistics
from tests.conftest import compose
from tests.training.short import resume, terminate, train, train_and_record

RECOMPUTED = "norm.statistics=recomputed"


@pytest.mark.parametrize("m", [2, 3, 10])
@pytest.mark.parametrize("shape", [(60, 4), (60, 4, 3, 5)], ids=["linear", "conv"])
def test_moments_are_those_of_all_values(shape, m):
    values = torch.randn(shape, dtype=torch.float64) * 3 + 7
    norm = (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(4).double()
    with recomputed_statistics(nn.Sequential(norm), values.split(m), estimator="moments"):
        channels = values.transpose(0, 1).flatten(1)
        torch.testing.assert_close(norm.running_mean, channels.mean(1), rtol=1e-13, atol=0)
        torch.testing.assert_close(norm.running_var, channels.var(1, correction=0), rtol=1e-11, atol=0)
    with recomputed_statistics(nn.Sequential(norm), values.split(m), estimator="paper"):
        batches = torch.stack([part.transpose(0, 1).flatten(1).var(1) for part in values.split(m)])
        torch.testing.assert_close(norm.running_var, batches.mean(0), rtol=1e-12, atol=0)


@pytest.mark.parametrize("m", [2, 3, 5])
def test_the_papers_estimator_is_unbiased_over_all_batches(m):
    """Enumerate all batches of m out of 8 values, which is exact where random batches are not."""
    values = torch.randn(8, 3, dtype=torch.float64)
    norm = nn.BatchNorm1d(3).double()
    batches = [values[list(members)] for members in combinations(range(8), m)]
    with recomputed_statistics(nn.Sequential(norm), batches, estimator="paper"):
        torch.testing.assert_close(norm.running_var, values.var(0), rtol=1e-12, atol=0)
    with recomputed_statistics(nn.Sequential(norm), batches, estimator="moments"):
        torch.testing.assert_close(norm.running_var, values.var(0, correction=0), rtol=1e-12, atol=0)


def test_running_var_ratio_of_each_layer():
    config = compose("model=mlp", RECOMPUTED)
    parts = build(config)
    model = parts.model
    named = dict(model.named_modules())
    named["fc1.norm"].running_var.fill_(4.0)
    inputs, _ = parts.data.train.batch(torch.arange(len(parts.data.train) // 64 * 64))
    model.eval()
    with torch.no_grad():
        second = named["fc2.weight"](named["fc1"](inputs.flatten(1)))
    model.train()
    expected = float((1 / second.var(0, correction=0)).mean())
    with evaluation_statistics(model, config, parts.data.train, lambda: False) as seen:
        pass
    assert list(seen) == ["running_var_ratio/fc1", "running_var_ratio/fc2", "running_var_ratio/fc3"]
    assert seen["running_var_ratio/fc2"] == pytest.approx(expected, rel=1e-4)
    with evaluation_statistics(model, compose("model=mlp"), parts.data.train, lambda: False) as seen:
        assert seen == {}


def test_deeper_norms_see_batch_normalized_inputs_without_dropout():
    first, second = nn.BatchNorm1d(6), nn.BatchNorm1d(6)
    net = nn.Sequential(nn.Linear(6, 6), first, nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 6), second)
    batches = torch.randn(40, 6).split(8)
    with torch.no_grad():
        inner = [nn.functional.batch_norm(net[0](x), None, None, training=True) for x in batches]
        entered = torch.stack([net[4](x.relu()) for x in inner])
    with recomputed_statistics(net, batches, estimator="paper"):
        torch.testing.assert_close(second.running_mean, entered.mean((0, 1)))
        torch.testing.assert_close(second.running_var, entered.var(1).mean(0))
    assert all(module.training and not module._forward_pre_hooks for module in net.modules())


@pytest.mark.parametrize("amp", [None, "bf16"])
def test_running_statistics_are_restored_after_errors(amp):
    config = compose("model=resnet", "model.depth=8", "model.width=4", RECOMPUTED, f"amp={amp or 'null'}")
    parts = build(config)
    names = dict(parts.model.named_buffers())
    before = {name: buffer.clone() for name, buffer in names.items()}
    with parts.precision.autocast(), evaluation_statistics(parts.model, config, parts.data.train, lambda: False):
        within = dict(parts.model.named_buffers())
        changed = [name for name in names if not torch.equal(within[name], before[name])]
        assert changed == [name for name in names if not name.endswith("num_batches_tracked")]
        assert {buffer.dtype for name, buffer in within.items() if name in changed} == {torch.float32}
        anew = evaluate(parts.model, parts.data.val)
    answers = iter([False, False, True])
    with (
        pytest.raises(StoppedError),
        evaluation_statistics(parts.model, config, parts.data.train, lambda: next(answers)),
    ):
        pytest.fail("it was not stopped")
    after = dict(parts.model.named_buffers())
    assert all(after[name] is names[name] and torch.equal(after[name], before[name]) for name in names)
    assert evaluate(parts.model, parts.data.val)[0] != anew[0]


@pytest.mark.parametrize(("samples", "batches"), [(1, 1), (64, 1), (200, 3), (10_000, 20)])
def test_recomputed_from_the_first_full_batches_without_augmentation(samples, batches):
    config = compose(RECOMPUTED, f"norm.recompute_samples={samples}", "data.augment=[crop]", "model=mlp")
    parts = build(config)
    seen = []
    parts.model.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    for _ in range(2):
        with evaluation_statistics(parts.model, config, parts.data.train, lambda: False):
            pass
    expected, _ = parts.data.train.batch(torch.arange(64 * batches))
    assert torch.equal(torch.cat(seen), torch.cat([expected] * 4))  # with running statistics, and with their own


@pytest.mark.parametrize("estimator", ["paper", "moments"])
def test_training_does_not_depend_on_the_estimator(estimator):
    running, parts, _ = train_and_record("dropout=0.2", "data.augment=[crop]")
    anew, twin, _ = train_and_record("dropout=0.2", "data.augment=[crop]", RECOMPUTED, f"norm.estimator={estimator}")
    state, other = parts.model.state_dict(), twin.model.state_dict()
    assert all(torch.equal(state[name], other[name]) for name in state)
    for one, two in zip(running, anew, strict=True):
        differing = {tag for tag in one.scalars if one.scalars[tag] != two.scalars[tag] and "second" not in tag}
        assert differing <= {f"{split}/{what}" for split in ("val", "test") for what in ("loss", "accuracy")} | {
            tag for tag in one.scalars if tag.startswith("convergence/")
        }
        assert ("val/loss" in differing) == ("val/loss" in one.scalars)


def test_slow_running_averages_lag_behind():
    """With momentum 0.001, a running average still has 95 % of its initial value after 50 steps."""
    short = ["norm.momentum=0.001", "steps=50", "eval_every=50", "data.train_size=null"]
    accuracy = {}
    for statistics in ("running", "recomputed"):
        records, _, _ = train_and_record("model=mlp", "activation=sigmoid", *short, f"norm.statistics={statistics}")
        accuracy[statistics] = records[-1].scalars
    assert accuracy["recomputed"]["test/accuracy"] > accuracy["running"]["test/accuracy"] + 0.2
    assert accuracy["recomputed"]["val/accuracy"] > 0.85


@pytest.mark.parametrize("norm", ["none", "ln", "gn"])
def test_other_norms_have_no_such_statistics(norm):
    config = compose(f"norm={norm}")
    parts = build(config)
    with evaluation_statistics(parts.model, config, parts.data.train, lambda: pytest.fail("it looked at batches")):
        pass


@pytest.mark.parametrize(
    "overrides", [["data.inputs=zca", "data.augment=[crop]"], [RECOMPUTED, "norm.estimator=moments", "dropout=0.2"]]
)
def test_interruption_does_not_change_the_result(tmp_path, at_step, overrides):
    whole = train(tmp_path / "whole", *overrides).directory
    at_step(8, terminate)
    stopped = train(tmp_path / "stopped", *overrides)
    assert stopped.state == "interrupted"
    resume(stopped.directory, *overrides)
    assert differences(whole, stopped.directory) == []


def test_interrupted_recomputation_is_repeated(tmp_path, monkeypatch):
    whole = train(tmp_path / "whole", RECOMPUTED).directory
    real, count = trainer.evaluation_statistics, iter(range(100))

    def stopping(*arguments, **options):
        if next(count) == 1:  # that of step 6
            terminate()
        return real(*arguments, **options)

    monkeypatch.setattr(trainer, "evaluation_statistics", stopping)
    stopped = train(tmp_path / "stopped", RECOMPUTED)
    assert stopped.state == "interrupted"
    resume(stopped.directory, RECOMPUTED)
    assert differences(whole, stopped.directory) == []
