"""optim.decay_norm: which parameters weight decay shrinks."""

import math

import pytest
import torch
from torch.nn import functional as F

from normexp.cli import main
from normexp.models.describe import weight_decay
from normexp.optim.groups import parameter_groups
from normexp.rundir import read_metrics
from normexp.training.build import build
from tests.conftest import compose
from tests.training.short import SMALL, resume, terminate, train, train_and_record

WEIGHTS = ["none", "ws", "sws", "weight_norm", "spectral"]
OPTIMIZERS = {"sgd": ["optim=sgd", "lr=0.1"], "adam": ["optim=adam", "lr=0.01"], "adamw": ["optim=adamw", "lr=0.01"]}
ONE_STEP = ["steps=1", "schedule=constant", "activation=tlu", "norm=ln", "optim.weight_decay=0.3"]


def is_matrix(name: str) -> bool:
    """Whether a parameter is the weight of a linear layer or convolution; original0 is the length of weight norm."""
    return name.endswith(("weight.weight", "parametrizations.weight.original", "parametrizations.weight.original1"))


def by_hand(value: torch.Tensor, grad: torch.Tensor, optim: str, decay: float) -> torch.Tensor:
    """The parameter after the first step, in float64."""
    value, grad = value.double(), grad.double()
    if optim == "sgd":
        return value - 0.1 * (grad + decay * value)
    if optim == "adam":
        grad = grad + decay * value  # the L2 penalty is part of the gradient
        return value - 0.01 * grad / (grad.abs() + 1e-8)
    return value * (1 - 0.01 * decay) - 0.01 * grad / (grad.abs() + 1e-8)


@pytest.mark.parametrize(
    ("optim", "decay_norm", "weight"),
    [(optim, decay_norm, "none") for optim in OPTIMIZERS for decay_norm in (True, False)]
    + [("adamw", False, weight) for weight in WEIGHTS[1:]],
)
def test_one_step_by_hand(optim, decay_norm, weight):
    overrides = [*ONE_STEP, *OPTIMIZERS[optim], f"optim.decay_norm={str(decay_norm).lower()}", f"weight={weight}"]
    before = build(compose(*SMALL, *overrides))
    inputs, labels = before.data.train.batch(next(before.order))
    F.cross_entropy(before.model(inputs), labels).backward()
    _, after, _ = train_and_record(*overrides)
    updated = dict(after.model.named_parameters())
    vectors = 0
    for name, parameter in before.model.named_parameters():
        decays = decay_norm or is_matrix(name)
        vectors += not is_matrix(name)
        want = by_hand(parameter.detach(), parameter.grad, optim, 0.3 if decays else 0.0)
        known = parameter.grad.abs() > 1e-5  # of smaller gradients, adam's step is rounding
        torch.testing.assert_close(updated[name].detach().double()[known], want[known], rtol=1e-5, atol=1e-5)
    assert vectors >= 12


def test_without_the_key_nothing_changes():
    """A single group, as in earlier checkpoints."""
    for overrides in ([], ["optim.decay_norm=false"], ["optim.weight_decay=0.1"]):
        config = compose(*SMALL, *overrides)
        (group,) = build(config).optimizer.param_groups
        assert group["weight_decay"] == config.optim.weight_decay
    parts = build(compose(*SMALL, "optim.weight_decay=0.1", "optim.decay_norm=false"))
    assert [group["weight_decay"] for group in parts.optimizer.param_groups] == [0.1, 0]
    grouped = [p for group in parts.optimizer.param_groups for p in group["params"]]
    assert sorted(map(id, grouped)) == sorted(map(id, parts.model.parameters()))


def test_a_network_of_vectors_has_one_group():
    config = compose("optim.weight_decay=0.1", "optim.decay_norm=false").optim
    (group,) = parameter_groups(torch.nn.LayerNorm(3), config)
    assert group["weight_decay"] == 0


def test_gamma_decays_only_if_asked():
    """Over a run: with a large decay, gamma goes to 0, or stays near 1."""
    means = {}
    for decay_norm in ("true", "false"):
        records, _, _ = train_and_record(
            "norm=ln", "steps=40", "optim.weight_decay=1", "lr=0.05", "probe=full", f"optim.decay_norm={decay_norm}"
        )
        means[decay_norm] = records[-1].scalars["gamma/conv1/mean"]
    assert means["true"] < 0.4
    assert means["false"] > 0.8


def test_the_learning_rate_schedule_and_resuming_are_for_both_groups(tmp_path, at_step):
    overrides = ["optim.weight_decay=0.1", "optim.decay_norm=false", "schedule=cosine", "checkpoint_every=5"]
    whole = train(tmp_path / "whole", *overrides).directory
    at_step(8, terminate)
    stopped = train(tmp_path / "stopped", *overrides)
    assert resume(stopped.directory, *overrides).state == "completed"
    one, two = (read_metrics(directory)[-1] for directory in (whole, stopped.directory))
    assert one["train/loss"] == two["train/loss"]
    _, parts, _ = train_and_record(*overrides)
    first, second = parts.optimizer.param_groups
    assert first["lr"] == second["lr"] == pytest.approx(0.05 * (1 + math.cos(math.pi * 11 / 12)))


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("norm", ["norm=bn", "norm=none", "norm=ln norm.affine=false"])
def test_describe_counts_what_is_decayed(norm, weight):
    decay = ["optim.weight_decay=0.1", "optim.decay_norm=false"]
    config = compose(*norm.split(), f"weight={weight}", "activation=tlu", *decay)
    parts = build(config)
    decayed = sum(p.numel() for group in parts.optimizer.param_groups if group["weight_decay"] for p in group["params"])
    total = sum(p.numel() for p in parts.model.parameters())
    assert weight_decay(config).startswith(f"weight decay 0.1 of {decayed:,} of {total:,} parameters")


def test_describe_says_what_is_decayed(capsys):
    assert main(["describe"]) == 0
    assert "weight decay" not in capsys.readouterr().out
    assert main(["describe", "optim=adamw"]) == 0
    assert "weight decay 0.01 of all 24,058 parameters" in capsys.readouterr().out
