"""The training loop: metrics, logging, gradient clipping, divergence and interruption."""

import dataclasses
import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normexp.models.layer import named_layers
from normexp.streams import stream_seed
from normexp.training.build import build
from normexp.training.evaluate import evaluate, evaluate_with_batch_statistics
from normexp.training.state import Point, convergence
from tests.conftest import compose
from tests.training.short import SMALL, train_and_record


def test_metrics_match_a_direct_computation():
    """Compare the loop with one written out here, which computes every metric directly."""
    records, parts, outcome = train_and_record("norm=ln", "schedule=cosine", "optim.weight_decay=0.01")
    assert outcome.state == "completed"
    config = compose(*SMALL, "norm=ln", "schedule=cosine", "optim.weight_decay=0.01")
    twin = build(config)
    model, train_data = twin.model, twin.data.train
    losses, right, logged = [], [], {}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01, fused=True)
    shuffled = torch.Generator().manual_seed(stream_seed(0, "order"))
    order = torch.cat([torch.randperm(200, generator=shuffled)[:192] for _ in range(4)]).split(64)
    for step in range(1, 13):
        optimizer.param_groups[0]["lr"] = lr = 0.1 * (1 + math.cos(math.pi * (step - 1) / 12)) / 2
        inputs, labels = train_data.batch(order[step - 1])
        logits = model(inputs)
        loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        right.append((logits.argmax(1) == labels).float().mean().item())
        norms = {
            name: math.sqrt(sum(p.grad.double().square().sum().item() for p in layer.parameters()))
            for name, layer in named_layers(model).items()
        }
        if step in (1, 4, 8, 12):
            window = max(1, step - max([0, *(s for s in logged if s < step)]))
            logged[step] = {
                "lr": lr,
                "train/loss": sum(losses[-window:]) / window,
                "train/accuracy": sum(right[-window:]) / window,
                "grad_norm/total": math.sqrt(sum(n * n for n in norms.values())),
                **{f"grad_norm/{name}": norm for name, norm in norms.items()},
            }
        optimizer.step()
    for step, want in logged.items():
        (got,) = (r.scalars for r in records if r.step == step)
        for tag, value in want.items():
            assert got[tag] == pytest.approx(value, rel=1e-4), (step, tag)
    last = records[-1].scalars
    for split, data in (("val", parts.data.val), ("test", parts.data.test)):
        inputs, labels = data.batch(torch.arange(len(data)))
        with torch.no_grad():
            logits = parts.model.eval()(inputs)
        assert last[f"{split}/loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
        assert last[f"{split}/accuracy"] == (logits.argmax(1) == labels).double().mean().item()


def test_logging_schedule():
    records, _, _ = train_and_record()
    assert [r.step for r in records] == [0, 1, 4, 5, 6, 8, 10, 12]
    by_step = {r.step: r for r in records}
    assert [s for s, r in by_step.items() if "train/loss" in r.scalars] == [1, 4, 8, 12]
    assert [s for s, r in by_step.items() if "val/accuracy" in r.scalars] == [0, 6, 12]
    assert [s for s, r in by_step.items() if r.histograms] == [0, 5, 10, 12]
    assert [s for s, r in by_step.items() if "test/accuracy" in r.scalars] == [12]
    inside = [f"activation_{side}/conv{i}" for i in (1, 2, 3) for side in ("in", "out")]
    assert list(by_step[5].histograms)[:6] == inside
    assert "drift/conv1" in by_step[0].scalars
    assert by_step[0].scalars["update_ratio/conv1"] > 0
    assert all(a.seconds <= b.seconds for a, b in pairwise(records))
    assert by_step[6].epoch == 2.0


def test_the_test_set_is_evaluated_once(monkeypatch):
    from normexp.training import trainer

    seen = []
    monkeypatch.setattr(trainer, "evaluate", lambda model, split, _: seen.append(split) or evaluate(model, split))
    _, parts, _ = train_and_record()
    assert [split for split in seen if split is parts.data.test] == seen[-1:]


def test_gradient_norms_are_measured_before_clipping():
    free, _, _ = train_and_record()
    clipped, _, _ = train_and_record("grad_clip=0.01")
    assert clipped[1].scalars["grad_norm/total"] == free[1].scalars["grad_norm/total"] > 0.01
    assert clipped[-1].scalars["train/loss"] > free[-1].scalars["train/loss"]  # the clipped run hardly moves


def test_clipping_bounds_the_update():
    _, parts, _ = train_and_record("grad_clip=0.5", "steps=1", "optim.momentum=0", "schedule=constant", "lr=1")
    start = build(compose(*SMALL, "grad_clip=0.5", "steps=1", "optim.momentum=0", "schedule=constant", "lr=1")).model
    moved = math.sqrt(
        sum((p - q).square().sum().item() for p, q in zip(parts.model.parameters(), start.parameters(), strict=True))
    )
    assert moved == pytest.approx(0.5, rel=1e-3)


def test_divergence_between_logged_steps_names_its_step():
    every, _, often = train_and_record("lr=1e30", "norm=none", "log_every=1")
    _, _, seldom = train_and_record("lr=1e30", "norm=none", "log_every=12")
    step = every[-1].step
    assert step not in (1, 12)
    if "loss" in often.error:
        assert seldom.error == often.error


def test_divergence_is_noticed_before_the_next_log_and_after_the_last_update():
    records, _, outcome = train_and_record("lr=1e30", "norm=none", "log_every=1000", "eval_every=6", "steps=500")
    assert outcome.state == "diverged"
    assert records[-1].step == 6
    assert not math.isfinite(records[-1].scalars["train/loss"])
    _, _, outcome = train_and_record("lr=1e30", "norm=none", "log_every=1000", "eval_every=1000", "steps=500")
    assert outcome.state == "diverged"
    _, _, outcome = train_and_record("lr=1e38", "norm=none", "steps=1")
    assert (outcome.state, outcome.error) == ("diverged", "val/loss became nan after step 1")


def test_an_interrupted_run_keeps_what_it_logged():
    records, _, outcome = train_and_record(stop_after=9)
    assert outcome.state == "interrupted"
    assert [r.step for r in records] == [0, 1, 4, 5, 6, 8]


def test_batch_statistics_change_nothing_and_are_those_of_the_batch():
    parts = build(compose("model=mlp", "data.train_size=128"))
    model, split = parts.model, parts.data.val
    before = {key: value.clone() for key, value in model.state_dict().items()}
    loss, accuracy = evaluate_with_batch_statistics(model, split, 64)
    after = model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    inputs, labels = split.batch(torch.arange(128))  # 144 samples: two batches of 64, and a rest that is left out
    reference = build(compose("model=mlp", "data.train_size=128")).model.train()
    logits = torch.cat([reference(part) for part in inputs.split(64)])
    assert loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert accuracy == (logits.argmax(1) == labels).double().mean().item()
    assert all(module.training for module in model.modules())
    assert evaluate(model, split)[0] != loss


def test_batch_statistics_are_reported_only_for_bn():
    for norm, expected in (("bn", True), ("gn", False), ("none", False)):
        records, _, _ = train_and_record(f"norm={norm}", "steps=1")
        assert ("val/accuracy_batch_statistics" in records[0].scalars) == expected


def test_convergence():
    points = [Point(0, 0.0, 0.1), Point(10, 1.0, 0.6), Point(20, 2.0, 0.95), Point(40, 4.0, 0.9)]
    assert convergence(points) == {
        "convergence/steps_to_50": 10,
        "convergence/seconds_to_50": 1.0,
        "convergence/steps_to_80": 20,
        "convergence/seconds_to_80": 2.0,
        "convergence/steps_to_90": 20,
        "convergence/seconds_to_90": 2.0,
        "convergence/steps_to_95": 20,
        "convergence/seconds_to_95": 2.0,
        "convergence/steps_to_99": None,
        "convergence/seconds_to_99": None,
        "convergence/best_accuracy": 0.95,
        "convergence/best_step": 20,
        "convergence/area_under_curve": pytest.approx((10 * 0.35 + 10 * 0.775 + 20 * 0.925) / 40),
    }
    assert convergence([])["convergence/steps_to_50"] is None


@pytest.mark.parametrize("optim", ["sgd", "adam", "adamw"])
def test_optimizers_are_torchs_with_the_configs_numbers(optim):
    config = compose(f"optim={optim}", "lr=0.3", "optim.weight_decay=0.02")
    optimizer = build(config).optimizer
    assert type(optimizer).__name__.lower() == optim
    group = optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (0.3, 0.02)
    fields = dataclasses.asdict(config.optim)
    if optim == "sgd":
        assert (group["momentum"], group["nesterov"]) == (fields["momentum"], fields["nesterov"])
    else:
        assert group["betas"] == (fields["beta1"], fields["beta2"])


def test_threads():
    before = torch.get_num_threads()
    try:
        build(compose("threads=2"))
        assert torch.get_num_threads() == 2
        build(compose("model=mlp"))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_layers_of_a_users_model():
    net = nn.Sequential(build(compose()).model, nn.Linear(10, 10))
    assert list(named_layers(net)) == ["0.conv1", "0.conv2", "0.conv3", "0.head"]
