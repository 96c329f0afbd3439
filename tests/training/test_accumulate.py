"""Steps in micro-batches: the gradients, measurements and statistics are those of the whole batch, except batch norm's."""

import copy
import dataclasses
import shutil

import pytest
import torch
from same_runs import differences
from torch import nn
from torch.nn import functional as F

from normexp.config import ConfigError
from normexp.probes import PROBES
from normexp.probes.base import Step
from normexp.probes.landscape import LossSurface
from normexp.training.build import build
from normexp.training.evaluate import evaluate_with_batch_statistics
from normexp.training.state import TrainState
from normexp.training.trainer import Trainer
from tests.conftest import compose
from tests.training.short import SMALL, resume, terminate, train, train_and_record

pytestmark = pytest.mark.long

PROBE_ALL = [*(f"probe.{name}=true" for name in PROBES), "probe.landscape_every=6", "probe.samples=200"]
PARTS = ["accumulate=4"]


def train_exactly(*overrides):
    """Train in float64, without rounding that would grow over the steps; returns the records and the parts."""
    config = compose(*SMALL, "data.train_size=192", *overrides)
    parts, records = build(config), []
    parts.model.double().register_forward_pre_hook(lambda _, args: (args[0].double(),))
    Trainer(parts, config, state=TrainState(parts.sizes.total_steps, parts.device), log=records.append).train()
    return records, parts


def weights(parts):
    return dict(parts.model.named_parameters())


def assert_close(one, two):
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(
            one[name], two[name], rtol=1e-7, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize(
    ("norm", "step", "accumulate"),
    [(norm, "grad_clip=0.05", 2) for norm in ("none", "ln", "ln norm.axes=channel", "gn", "in", "rms")]
    + [("ln", "optim.weight_decay=0.01", 4), ("gn", "optim=adam lr=0.003", 4), ("in", "data.augment=[crop]", 64)],
)
def test_equals_the_whole_batch_without_batch_statistics(norm, step, accumulate):
    overrides = [*f"norm={norm}".split(), *step.split()]
    _, whole = train_exactly(*overrides)
    _, parts = train_exactly(*overrides, f"accumulate={accumulate}")
    assert_close(weights(parts), weights(whole))


class Chunks(nn.Module):
    """Batch norm of consecutive chunks, one after the other."""

    def __init__(self, norm, size):
        super().__init__()
        self.norm, self.size = norm, size

    def forward(self, x):
        n = self.norm
        running = n.running_mean, n.running_var
        normalized = [
            F.batch_norm(chunk, *running, n.weight, n.bias, training=True, momentum=n.momentum, eps=n.eps)
            for chunk in x.split(self.size)
        ]
        return torch.cat(normalized)


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_batch_norm_sees_micro_batches(model):
    config = compose(*SMALL, f"model={model}", "norm=bn")
    parts = build(config)
    by_hand = copy.deepcopy(parts.model).double().train()
    for module in list(by_hand.modules()):
        if hasattr(module, "norm") and not isinstance(module, Chunks):
            module.norm = Chunks(module.norm, 16)
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1, momentum=0.9)
    order = build(config).order
    _, trained = train_exactly(f"model={model}", "norm=bn", "schedule=constant", "data.train_size=200", *PARTS)
    for _ in range(12):
        inputs, labels = parts.data.train.batch(next(order))
        optimizer.zero_grad()
        F.cross_entropy(by_hand(inputs.double()), labels).backward()
        optimizer.step()
    expected = {name.replace(".norm.norm.", ".norm."): value for name, value in by_hand.state_dict().items()}
    found = trained.model.state_dict()
    counts = {name for name in found if name.endswith("num_batches_tracked")}
    assert {int(found[name]) for name in counts} == {4 * 12}
    assert_close({n: found[n] for n in found.keys() - counts}, {n: expected[n] for n in found.keys() - counts})


def test_trains_the_same_weights_as_ghost_batches():
    """Only the running statistics differ: they are updated per micro-batch, but once for all ghost batches."""
    _, accumulated = train_exactly("norm=bn", *PARTS)
    _, ghosts = train_exactly("norm=bn", "norm.ghost_batch=16")
    assert_close(weights(accumulated), weights(ghosts))


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=cnn", "norm=ln", "norm.position=post"],
        ["model=mlp", "norm=rms", "batch_size=16", "accumulate=16"],  # of 1 sample
        ["model=cnn", "norm=none", "activation=sigmoid", "grad_clip=0.1"],
        ["model=resnet", "model.depth=8", "model.width=4", "norm=gn"],
    ],
    ids=lambda overrides: overrides[0].partition("=")[2],
)
def test_everything_logged_is_of_the_whole_batch(overrides):
    overrides = [*PROBE_ALL, "log_every=1", *overrides]
    one, _ = train_exactly(*(text for text in overrides if not text.startswith("accumulate")))
    many, _ = train_exactly(*PARTS, *overrides)
    groups = set()
    for whole, parts in zip(one, many, strict=True):
        tags = {tag for tag in whole.scalars if "second" not in tag}
        assert tags == {tag for tag in parts.scalars if "second" not in tag}
        for tag in sorted(tags):
            assert parts.scalars[tag] == pytest.approx(whole.scalars[tag], rel=2e-5, abs=2e-6), (whole.step, tag)
        assert parts.histograms.keys() == whole.histograms.keys()
        for tag, histogram in whole.histograms.items():
            assert sum(parts.histograms[tag].counts) == sum(histogram.counts), tag
        groups |= {tag.partition("/")[0] for tag in tags}
    assert groups >= {
        "train",
        "grad_norm",
        "grad_flow",
        "dead",
        "linearity",
        "jump",
        "drift",
        "noise_scale",
        "landscape",
    }


def test_distance_to_the_running_statistics_is_averaged_over_micro_batches():
    records, _ = train_exactly("model=mlp", "norm=bn", "probe.every=1", *PARTS)
    config = compose(*SMALL, "model=mlp", "norm=bn", "data.train_size=192")
    parts = build(config)
    inputs, _ = parts.data.train.batch(next(parts.order))
    mean, var = torch.zeros(100, dtype=torch.float64), torch.ones(100, dtype=torch.float64)
    distances, ratios = [], []
    with torch.no_grad():
        values = parts.model.double().get_submodule("fc1.weight")(inputs.flatten(1).double())
    for chunk in values.split(16):
        distances.append(((chunk.mean(0) - mean).abs() / (var + 1e-5).sqrt()).mean())
        ratios.append(((chunk.var(0) + 1e-5) / (var + 1e-5)).log().mean())
        mean, var = mean.lerp(chunk.mean(0), 0.1), var.lerp(chunk.var(0), 0.1)
    first = records[0].scalars
    assert first["batch_mean_distance/fc1"] == pytest.approx(float(torch.stack(distances).mean()), rel=1e-5)
    assert first["batch_var_ratio/fc1"] == pytest.approx(float(torch.stack(ratios).mean().exp()), rel=1e-5)


@pytest.mark.parametrize("norm", ["bn", "brn", "bn norm.ghost_batch=8"])
def test_the_landscape_is_that_of_the_micro_batches(norm):
    """With dropout and noise, too: its gradient at the weights is that of the step."""
    config = compose(*SMALL, *f"norm={norm}".split(), "dropout=0.3", "noise=0.5", *PARTS, "lr=0.5", "optim.momentum=0")
    parts = build(config)
    step = Step(1, 9, parts.model.train(), *parts.data.train.batch(next(parts.order)), 0.5, accumulate=4)
    surface = LossSurface(step)
    loss, gradient = surface(surface.weights)
    trainer = Trainer(parts, config, log=lambda record: None)
    found, logits = trainer.forward_backward(step.inputs, step.labels, None)
    assert float(found) == pytest.approx(float(loss), rel=1e-6)
    assert float(F.cross_entropy(logits, step.labels)) == pytest.approx(float(loss), rel=1e-6)
    for name, parameter in parts.model.named_parameters():
        torch.testing.assert_close(gradient[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_evaluations_with_batch_statistics_use_the_micro_batch():
    records, parts, _ = train_and_record("norm=bn", "eval_samples=null", *PARTS)
    val = parts.data.val
    found = evaluate_with_batch_statistics(parts.model, val, 16)
    last = records[-1].scalars
    assert (last["val/loss_batch_statistics"], last["val/accuracy_batch_statistics"]) == found
    assert found != evaluate_with_batch_statistics(parts.model, val, 64)


def test_recomputed_statistics_are_of_micro_batches():
    """The mean of the unbiased variances of all micro-batches; whole batches have other ones."""
    recomputed = ["norm=bn", "norm.statistics=recomputed", "norm.recompute_samples=64", "model=mlp", "lr=1e-9"]
    small = train_and_record(*recomputed, *PARTS)[0][-1].scalars["val/loss"]
    same = train_and_record(*recomputed, "batch_size=16")[0][-1].scalars["val/loss"]
    other = train_and_record(*recomputed)[0][-1].scalars["val/loss"]
    assert small == pytest.approx(same, rel=1e-6)
    assert small != pytest.approx(other, rel=1e-4)


@pytest.mark.parametrize("stop", [1, *(pytest.param(n, marks=pytest.mark.long) for n in (4, 8))])
@pytest.mark.parametrize(
    "overrides",
    [
        ["norm=bn", "data.augment=[crop]", "dropout=0.1", "noise=0.2", *PROBE_ALL],
        ["norm=brn", "weight=spectral", "optim=adamw", "amp=fp16"],
    ],
    ids=["bn", "brn"],
)
@pytest.mark.slow
def test_a_resumed_run_is_the_same(tmp_path, at_step, overrides, stop):
    whole = train(tmp_path / "whole", *overrides, *PARTS).directory
    at_step(stop, terminate)
    stopped = train(tmp_path / "stopped", *overrides, *PARTS)
    assert stopped.state == "interrupted"
    resume(stopped.directory, *overrides, *PARTS)
    assert differences(whole, stopped.directory) == []


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_mixed_precision_comes_close_to_float32(amp):
    exact, mixed = (train_and_record("norm=ln", *PARTS, *more)[0] for more in ([], [f"amp={amp}"]))
    tags = [tag for tag in exact[1].scalars if tag.startswith(("grad_norm/", "train/loss"))]
    assert len(tags) > 3
    for tag in tags:
        assert mixed[1].scalars[tag] == pytest.approx(exact[1].scalars[tag], rel=0.05)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # what torch says to itself when its compiler is imported
@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="there is no C++ compiler")
def test_a_compiled_run_has_the_same_losses():
    plain, _, _ = train_and_record("model=mlp", "norm=bn", "probe=off", *PARTS)
    compiled, _, _ = train_and_record("model=mlp", "norm=bn", "probe=off", *PARTS, "compile=true")
    for one, two in zip(plain, compiled, strict=True):
        for tag in {"train/loss", "val/loss"} & one.scalars.keys():
            assert two.scalars[tag] == pytest.approx(one.scalars[tag], rel=1e-3)


def test_a_graphs_gradients_are_copied_before_its_next_replay(monkeypatch):
    """A CUDA graph returns gradients in the same memory at each replay. The copies must be what later gradients are added to."""
    config = compose(*SMALL, "norm=ln", *PARTS)
    parts = build(config)
    trainer = Trainer(parts, config, log=lambda record: None)
    trainer.replays_graph = True
    backward, in_graph = trainer.precision.backward, []

    def replay(loss):
        for gradient in in_graph:
            gradient.fill_(float("nan"))
        backward(loss)
        if not in_graph:
            in_graph.extend(p.grad for p in trainer.parameters)

    monkeypatch.setattr(trainer.precision, "backward", replay)
    trainer.model.train()
    trainer.forward_backward(*parts.data.train.batch(next(parts.order)), None)
    assert in_graph
    assert all(bool(p.grad.isfinite().all()) for p in trainer.parameters)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["accumulate=3"],
            r"a batch of 64 samples can't be divided into 3 micro-batches. accumulate must divide batch_size",
        ),
        (
            ["model=mlp", "norm=bn", "accumulate=64"],
            r"in layer fc1 of model=mlp with micro-batches of 1 .*Use accumulate=32\.",
        ),
        (
            ["norm.ghost_batch=32", "accumulate=4"],
            r"of 16 samples can't be divided into ghost batches of 32\. Use accumulate=2\.",
        ),
        (["norm.ghost_batch=24", "accumulate=4"], r"Use batch_size=96"),
    ],
)
def test_refuses_micro_batches_that_cannot_work(overrides, words):
    with pytest.raises(ConfigError, match=words):
        compose(*overrides)


def test_stored_configs_without_it_have_one_micro_batch():
    assert {f.name: f.default for f in dataclasses.fields(compose())}["accumulate"] == 1
