"""Training: what is measured is right, the same seed gives the same run, and every end is told apart."""

import dataclasses
import json
import math
from itertools import pairwise

import pytest
import torch
from rich.console import Console
from torch import nn
from torch.nn import functional as F

from normexp.models.layer import named_layers
from normexp.rundir import read_metrics, read_status
from normexp.training import checkpoint
from normexp.training.build import build
from normexp.training.convergence import Point, convergence
from normexp.training.evaluate import evaluate, evaluate_with_batch_statistics
from normexp.training.run import run
from normexp.training.trainer import Progress, fit
from tests.conftest import compose

QUIET = Console(quiet=True)
SMALL = ["steps=12", "log_every=4", "eval_every=6", "data.train_size=200", "probe.every=5"]


def train(folder, *overrides):
    config = compose(*SMALL, *overrides)
    return run(config, parent=folder, name="run", diff={}, command=["normexp"], console=QUIET)


def fit_and_record(*overrides, stop_after=None):
    """A run's records, parts and outcome, without files."""
    config = compose(*SMALL, *overrides)
    parts, records = build(config), []
    progress = Progress(parts.sizes.total_steps)
    outcome = fit(
        parts,
        config,
        progress,
        log=records.append,
        interrupted=lambda: stop_after is not None and progress.step >= stop_after,
    )
    return records, parts, outcome


def timeless(directory):
    """metrics.jsonl without what depends on the clock."""
    return [
        {tag: value for tag, value in entry.items() if "second" not in tag and not tag.startswith("speed/")}
        for entry in read_metrics(directory)
    ]


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["seed=0", "dropout=0.3", "data.augment=[crop,flip]"],
        ["model=resnet", "model.depth=8", "norm=gn", "optim=adamw", "schedule=onecycle"],
        ["model=mlp", "norm=ln", "init=kaiming", "grad_clip=0.1", "threads=2"],
    ],
    ids=lambda overrides: " ".join(overrides) or "defaults",
)
def test_the_same_seed_gives_the_same_run_bit_for_bit(tmp_path, overrides):
    one, two = (train(tmp_path / name, *overrides) for name in ("one", "two"))
    assert timeless(one.directory) == timeless(two.directory)
    weights = [checkpoint.load(result.directory / "checkpoint.pt")["model"] for result in (one, two)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_seeds_differ_and_0_is_one_of_them(tmp_path):
    zero, one = (timeless(train(tmp_path / seed, f"seed={seed}").directory) for seed in "01")
    assert zero != one
    assert zero == timeless(train(tmp_path / "default").directory)


@pytest.mark.parametrize("probe", ["probe='off'", "probe.every=1"])
def test_looking_does_not_disturb(tmp_path, probe):
    results = [train(tmp_path / name, "dropout=0.2", *more) for name, more in (("a", []), ("b", [probe]))]
    assert timeless(results[0].directory) == timeless(results[1].directory)


def test_each_metric_is_what_it_says():
    """The loop against one written out here, step by step, with everything computed directly."""
    records, parts, outcome = fit_and_record("norm=ln", "schedule=cosine", "optim.weight_decay=0.01")
    assert outcome.state == "completed"
    config = compose(*SMALL, "norm=ln", "schedule=cosine", "optim.weight_decay=0.01")
    twin = build(config)
    model, train_data = twin.model, twin.data.train
    losses, right, logged = [], [], {}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01, fused=True)
    order = torch.cat([torch.randperm(200, generator=twin.order)[:192] for _ in range(4)]).split(64)
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


def test_what_is_logged_when():
    records, _, _ = fit_and_record()
    assert [r.step for r in records] == [0, 1, 4, 5, 6, 8, 10, 12]
    by_step = {r.step: r for r in records}
    assert [s for s, r in by_step.items() if "train/loss" in r.scalars] == [1, 4, 8, 12]
    assert [s for s, r in by_step.items() if "val/accuracy" in r.scalars] == [0, 6, 12]
    assert [s for s, r in by_step.items() if r.histograms] == [1, 5, 10, 12]
    assert [s for s, r in by_step.items() if "test/accuracy" in r.scalars] == [12]
    assert list(by_step[5].histograms) == [f"activation/conv{i}/{side}" for i in (1, 2, 3) for side in ("in", "out")]
    assert all(a.seconds <= b.seconds for a, b in pairwise(records))
    assert by_step[6].epoch == 2.0


def test_the_test_set_is_looked_at_once(monkeypatch):
    from normexp.training import trainer

    seen = []
    monkeypatch.setattr(trainer, "evaluate", lambda model, split: seen.append(split) or evaluate(model, split))
    _, parts, _ = fit_and_record()
    assert [split for split in seen if split is parts.data.test] == seen[-1:]


def test_gradient_norms_are_of_before_clipping():
    free, _, _ = fit_and_record()
    clipped, _, _ = fit_and_record("grad_clip=0.01")
    assert clipped[1].scalars["grad_norm/total"] == free[1].scalars["grad_norm/total"] > 0.01
    assert clipped[-1].scalars["train/loss"] > free[-1].scalars["train/loss"]  # the clipped run hardly moves


def test_clipping_bounds_the_update():
    _, parts, _ = fit_and_record("grad_clip=0.5", "steps=1", "optim.momentum=0", "schedule=constant", "lr=1")
    start = build(compose(*SMALL, "grad_clip=0.5", "steps=1", "optim.momentum=0", "schedule=constant", "lr=1")).model
    moved = math.sqrt(
        sum((p - q).square().sum().item() for p, q in zip(parts.model.parameters(), start.parameters(), strict=True))
    )
    assert moved == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("overrides", [["lr=1e30", "norm=none"], ["lr=1e30"]])
def test_divergence_is_a_result(tmp_path, overrides):
    result = train(tmp_path, *overrides, "log_every=1")
    status = read_status(result.directory)
    assert status["state"] == result.state == "diverged"
    assert "became" in status["error"]
    assert "in step" in status["error"]
    assert 0 < status["step"] < 12
    last = read_metrics(result.directory)[-1]
    assert last["step"] == status["step"]
    assert last["nonfinite"].keys() & {"train/loss", "grad_norm/total"}
    assert "test/accuracy" not in last


def test_divergence_between_two_logs_is_dated_to_its_step():
    every, _, often = fit_and_record("lr=1e30", "norm=none", "log_every=1")
    _, _, seldom = fit_and_record("lr=1e30", "norm=none", "log_every=12")
    step = every[-1].step
    assert step not in (1, 12)
    if "loss" in often.error:
        assert seldom.error == often.error


def test_divergence_is_seen_before_the_next_log_and_after_the_last_update():
    records, _, outcome = fit_and_record("lr=1e30", "norm=none", "log_every=1000", "eval_every=6", "steps=500")
    assert outcome.state == "diverged"
    assert records[-1].step == 6
    assert not math.isfinite(records[-1].scalars["train/loss"])
    _, _, outcome = fit_and_record("lr=1e30", "norm=none", "log_every=1000", "eval_every=1000", "steps=500")
    assert outcome.state == "diverged"
    _, _, outcome = fit_and_record("lr=1e38", "norm=none", "steps=1")
    assert (outcome.state, outcome.error) == ("diverged", "val/loss became nan after step 1")


def test_a_network_that_can_not_be_built_is_a_failed_run(tmp_path, monkeypatch):
    from normexp.training import run as module

    def exhausted(config):
        raise MemoryError("no memory for it")

    monkeypatch.setattr(module, "build", exhausted)
    status = read_status(train(tmp_path).directory)
    assert (status["state"], status["error"]) == ("failed", "MemoryError: no memory for it")


def test_an_interrupted_run_keeps_what_it_logged():
    records, _, outcome = fit_and_record(stop_after=9)
    assert outcome.state == "interrupted"
    assert [r.step for r in records] == [0, 1, 4, 5, 6, 8]


def test_a_failure_leaves_its_traceback_and_the_metrics(tmp_path, monkeypatch):
    from normexp.training import trainer

    def broken(step, losses):
        if step == 8:
            raise RuntimeError("[bold]boom[/]")

    monkeypatch.setattr(trainer, "_non_finite_loss", broken)
    result = train(tmp_path)
    status = read_status(result.directory)
    assert (status["state"], status["error"], status["step"]) == ("failed", "RuntimeError: [bold]boom[/]", 8)
    assert "Traceback" in (result.directory / "train.log").read_text()
    assert read_metrics(result.directory)[-1]["step"] == 6


def test_the_run_directory_is_whole(tmp_path):
    result = train(tmp_path, "norm=gn")
    names = {path.name for path in result.directory.iterdir()}
    (events,) = (name for name in names if name.startswith("events.out.tfevents."))
    assert names - {events} == {
        "config.yaml",
        "config_diff.yaml",
        "environment.json",
        "metrics.jsonl",
        "checkpoint.pt",
        "status.json",
        "train.log",
    }
    status = read_status(result.directory)
    assert list(status) == ["state", "step", "total_steps", "seconds", "metrics", "error", "pid", "host", "started"]
    assert (status["state"], status["step"], status["total_steps"], status["error"]) == ("completed", 12, 12, None)
    merged = {}
    for entry in read_metrics(result.directory):
        merged |= {tag: value for tag, value in entry.items() if tag not in ("step", "epoch", "seconds")}
    assert status["metrics"] == merged
    environment = json.loads((result.directory / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__
    assert environment["device"] == "cpu"
    import yaml

    from normexp.config import read
    from normexp.validate import CHOICES

    stored = yaml.safe_load((result.directory / "config.yaml").read_text())
    assert read(stored, CHOICES) == compose(*SMALL, "norm=gn")


def test_a_checkpoint_holds_the_whole_state(tmp_path):
    result = train(tmp_path, "dropout=0.1", "data.augment=[crop]")
    state = checkpoint.load(result.directory / "checkpoint.pt")
    assert state["step"] == 12
    assert set(state["generators"]) == {"torch", "order", "augment"}
    parts = build(compose(*SMALL, "dropout=0.1", "data.augment=[crop]"))
    parts.model.load_state_dict(state["model"])
    parts.optimizer.load_state_dict(state["optimizer"])
    assert evaluate(parts.model, parts.data.test)[1] == result.metrics["test/accuracy"]
    with pytest.raises(Exception, match="weights_only"):
        torch.save(Console, tmp_path / "evil.pt")
        checkpoint.load(tmp_path / "evil.pt")


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


def test_batch_statistics_are_reported_for_batch_norm_alone():
    for norm, expected in (("bn", True), ("gn", False), ("none", False)):
        records, _, _ = fit_and_record(f"norm={norm}", "steps=1")
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


def test_the_defaults_learn(tmp_path):
    config = compose()
    result = run(config, parent=tmp_path, name="run", diff={}, command=[], console=QUIET)
    assert result.metrics["test/accuracy"] > 0.97


def test_threads():
    before = torch.get_num_threads()
    try:
        build(compose("threads=2"))
        assert torch.get_num_threads() == 2
        build(compose("model=mlp"))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_layers_of_a_model_of_ones_own_are_found():
    net = nn.Sequential(build(compose()).model, nn.Linear(10, 10))
    assert list(named_layers(net)) == ["0.conv1", "0.conv2", "0.conv3", "0.head"]
