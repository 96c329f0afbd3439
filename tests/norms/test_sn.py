"""Switchable norm against its definition in float64."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from normexp.config import ConfigError
from normexp.models.build import build_model
from normexp.models.describe import describe
from normexp.norms import NORMS, Site
from normexp.norms.fold import fold
from normexp.training.evaluate import batch_statistics
from tests.conftest import compose

OVER = {"in": (2, 3), "ln": (1, 2, 3), "bn": (0, 2, 3)}


def build(shape, *overrides):
    config = compose("model=resnet", "norm=sn", "norm.momentum=0.2", *overrides)
    norm = NORMS["sn"].build(config.norm, Site("layer", shape)).double()
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.normal_()
    return norm


def formula(norm, x: Tensor) -> Tensor:
    """Each mean and variance from the values themselves."""
    mean_weights, var_weights = norm.mean_logits.softmax(0), norm.var_logits.softmax(0)
    means = [x.mean(axes, keepdim=True) for axes in OVER.values()]
    variances = [x.var(axes, correction=0, keepdim=True) for axes in OVER.values()]
    mean = sum(w * each for w, each in zip(mean_weights, means, strict=True))
    var = sum(w * each for w, each in zip(var_weights, variances, strict=True))
    y = (x - mean) / (var + norm.eps).sqrt()
    return y * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)


@given(
    batch=st.integers(1, 5),
    channels=st.integers(1, 5),
    size=st.sampled_from([(2, 2), (1, 3), (4, 3)]),
    shift=st.floats(-20, 20),
    seed=st.integers(0, 99),
)
def test_formula(*, batch, channels, size, shift, seed):
    torch.manual_seed(seed)
    norm = build((channels, *size))
    x, g = shift + 2 * torch.randn(2, batch, channels, *size, dtype=torch.float64)
    x.requires_grad_()
    want, y = formula(norm, x), norm(x)
    torch.testing.assert_close(y, want, rtol=1e-8, atol=1e-8)
    inputs = [x, *norm.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad(y, inputs, g), torch.autograd.grad(want, inputs, g), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize(("at", "name"), list(enumerate(OVER)))
def test_with_infinite_logits_it_is_one_of_the_three(at, name):
    norm = build((4, 3, 3))
    with torch.no_grad():
        for logits in (norm.mean_logits, norm.var_logits):
            logits.fill_(-math.inf)[at] = 0
    channels = {
        "in": nn.InstanceNorm2d(4, affine=True),
        "ln": nn.GroupNorm(1, 4),
        "bn": nn.BatchNorm2d(4, momentum=0.2),
    }
    plain = channels[name].double()
    plain.load_state_dict({"weight": norm.weight, "bias": norm.bias}, strict=False)
    for seed in (1, 2):
        torch.manual_seed(seed)
        x = 5 + 2 * torch.randn(6, 4, 3, 3, dtype=torch.float64)
        torch.testing.assert_close(norm(x), plain(x))
    torch.testing.assert_close(norm.eval()(x), plain.eval()(x))
    assert norm.shares()[f"sn_var_{name}"] == 1


def test_running_statistics_are_those_of_batch_norm():
    norm, plain = build((3, 2, 4)), nn.BatchNorm2d(3, momentum=0.2).double()
    x = 4 + torch.randn(6, 3, 2, 4, dtype=torch.float64)
    for module in (norm, plain):
        module(x)
    torch.testing.assert_close(dict(norm.named_buffers()), dict(plain.named_buffers()))
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    with batch_statistics(nn.Sequential(norm)):
        torch.testing.assert_close(norm(x), formula(norm, x))
    assert all(torch.equal(buffer, before[name]) for name, buffer in norm.named_buffers())


def test_gradients():
    norm, x = build((2, 2, 3)), torch.randn(3, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: norm(x), (x, *norm.parameters()))


def test_keeps_digits_of_a_far_mean_in_float32():
    """E[x^2] - E[x]^2 would lose all of them."""
    norm = build((3, 4, 4)).float()
    x = 3000 + torch.randn(4, 3, 4, 4)
    torch.testing.assert_close(norm(x), formula(norm.double(), x.double()).float(), rtol=1e-2, atol=1e-2)


def test_refused_without_a_map():
    with pytest.raises(ConfigError, match="norm=sn can't work in layer fc1 of model=mlp: after a linear layer"):
        compose("norm=sn", "model=mlp")
    with pytest.raises(ConfigError, match="its output is a single pixel"):
        compose("norm=sn", "model.channels=[8,8,8,8]")


def test_describe_lists_its_three_sets():
    row = describe(compose("norm=sn", "model=cnn", "batch_size=10"))[0]
    sets = ["H,W: 8*8 = 64 values, 160", "C,H,W: 16*8*8 = 1,024 values, 10", "B,H,W: 10*8*8 = 640 values, 16"]
    assert row.statistics == "; ".join(f"{each} statistics" for each in sets)
    assert row.norm_parameters == 16 * 2 + 6


def test_starts_even_and_is_not_folded():
    model = build_model(compose("norm=sn", "model=cnn"))
    shares = model.conv1.norm.shares()
    assert len(shares) == 6
    assert all(share == pytest.approx(1 / 3) for share in shares.values())
    with pytest.raises(ValueError, match="no batch norm"):
        fold(model)
