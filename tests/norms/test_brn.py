"""Batch renorm against Ioffe 2017, algorithm 1, in float64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from normexp.config import ConfigError
from normexp.models.build import build_model
from normexp.norms import NORMS, Site
from normexp.norms.fold import fold
from normexp.training.evaluate import batch_statistics, recomputed_statistics
from tests.conftest import compose
from tests.norms.test_fold import norms, with_statistics

EPS, MOMENTUM = 1e-3, 0.2


def build(shape, *, r_max=3.0, d_max=5.0, affine=True, progress=1.0):
    """After this fraction of the run, with running statistics, gamma and beta away from where they start."""
    limits = [f"norm.r_max={r_max}", f"norm.d_max={d_max}", f"norm.eps={EPS}", f"norm.momentum={MOMENTUM}"]
    config = compose("model=resnet", "norm=brn", f"norm.affine={str(affine).lower()}", *limits)
    norm = NORMS["brn"].build(config.norm, Site("layer", shape)).double()
    norm.start_step(round(progress * 1000) + 1, 1000)
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.3, 3)
        for parameter in norm.parameters():
            parameter.normal_()
    return norm


def formula(norm, x, *, r_max, d_max):
    """Output, and the running mean and sigma afterwards; r and d are constants for autograd."""
    over, shape = [0, *range(2, x.dim())], (1, -1, *[1] * (x.dim() - 2))
    mu_b = x.mean(over)
    sigma_b = ((x - mu_b.view(shape)).square().mean(over) + EPS).sqrt()
    mu, sigma = norm.running_mean.clone(), (norm.running_var + EPS).sqrt()
    r = (sigma_b / sigma).clamp(1 / r_max, r_max).detach()
    d = ((mu_b - mu) / sigma).clamp(-d_max, d_max).detach()
    y = (x - mu_b.view(shape)) / sigma_b.view(shape) * r.view(shape) + d.view(shape)
    if norm.affine:
        y = norm.weight.view(shape) * y + norm.bias.view(shape)
    return y, mu + MOMENTUM * (mu_b - mu), sigma + MOMENTUM * (sigma_b - sigma)


@given(
    shape=st.one_of(st.tuples(st.integers(1, 5)), st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(2, 3))),
    batch=st.integers(2, 6),
    r_max=st.sampled_from([1.0, 1.2, 3.0, 100.0]),
    d_max=st.sampled_from([0.0, 0.3, 5.0, 100.0]),
    affine=st.booleans(),
    seed=st.integers(0, 99),
)
def test_formula(*, shape, batch, r_max, d_max, affine, seed):
    torch.manual_seed(seed)
    norm = build(shape, r_max=r_max, d_max=d_max, affine=affine)
    x, g = 1 + 2 * torch.randn(2, batch, *shape, dtype=torch.float64)
    x.requires_grad_()
    want, mean, sigma = formula(norm, x, r_max=r_max, d_max=d_max)
    wanted = torch.autograd.grad(want, [x, *norm.parameters()], g)
    y = norm(x)
    torch.testing.assert_close(y, want, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(torch.autograd.grad(y, [x, *norm.parameters()], g), wanted, rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close((norm.running_var + EPS).sqrt(), sigma)


def test_unclipped_training_computes_what_evaluation_does():
    norm = build((4, 3, 3), r_max=1e6, d_max=1e6)
    x = 1 + 2 * torch.randn(6, 4, 3, 3, dtype=torch.float64)
    in_evaluation = norm.eval()(x)
    torch.testing.assert_close(norm.train()(x), in_evaluation)


def test_at_the_start_of_the_ramp_it_is_batch_norm_bit_for_bit():
    norm = build((4, 3, 3), progress=0.0).float()
    plain = nn.BatchNorm2d(4, eps=EPS)
    plain.load_state_dict(norm.state_dict())
    x = 1 + 2 * torch.randn(6, 4, 3, 3)
    assert torch.equal(norm(x), plain(x))


@pytest.mark.parametrize(
    ("step", "r_max", "d_max"),
    [(1, 1, 0), (51, 1, 0), (126, 1 + 2 * 0.3, 2.5), (201, 1 + 2 * 0.6, 5), (301, 3, 5), (1000, 3, 5)],
)
def test_ramp(step, r_max, d_max):
    """From 5 % of the steps, linearly to 30 % (r) and 20 % (d)."""
    norm = build((4,))
    norm.start_step(step, 1000)
    assert norm.limits.tolist() == pytest.approx([r_max, d_max])


def test_a_ramp_without_length_is_a_step():
    config = compose("norm=brn", "norm.ramp_start=0", "norm.r_ramp_end=0", "norm.d_ramp_end=0")
    norm = NORMS["brn"].build(config.norm, Site("layer", (4,)))
    assert norm.limits.tolist() == [3, 5]
    with pytest.raises(ConfigError, match=r"norm.ramp_start=0.5 is after the end of a ramp, 0.2. Use"):
        compose("norm=brn", "norm.ramp_start=0.5")


def test_evaluations_with_other_statistics():
    norm, x = build((3, 2, 2)), torch.randn(8, 3, 2, 2, dtype=torch.float64)
    net = nn.Sequential(norm)
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    plain = nn.BatchNorm2d(3, eps=EPS).double()
    plain.load_state_dict(norm.state_dict())
    with batch_statistics(net):
        torch.testing.assert_close(norm(x), plain(x))
    with recomputed_statistics(net, x.split(4), estimator="moments"):
        torch.testing.assert_close(norm.running_var, x.var((0, 2, 3), correction=0))
    assert all(torch.equal(buffer, before[name]) for name, buffer in norm.named_buffers())


def test_folds():
    model = with_statistics(build_model(compose("model=mlp", "norm=brn", "amp=bf16"))).eval()
    assert norms(model) == 3
    assert norms(fold(model)) == 0
