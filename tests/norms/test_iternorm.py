"""Iterative whitening against its definition in float64."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from normexp.config import ConfigError
from normexp.models.build import build_model
from normexp.norms import NORMS, Site
from normexp.norms.fold import fold
from normexp.norms.iternorm_module import newton_inverse_root
from normexp.training.evaluate import batch_statistics
from tests.conftest import compose


def build(shape, *overrides):
    config = compose("model=resnet", "model.width=12", "norm=iternorm", *overrides)
    return NORMS["iternorm"].build(config.norm, Site("layer", shape)).double()


def correlated(batch, channels, *size, seed=0):
    """Channels with correlations, means and scales of their own."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, channels, *size, dtype=torch.float64, generator=generator)
    mix = torch.randn(channels, channels, dtype=torch.float64, generator=generator)
    return torch.einsum("dc,bc...->bd...", mix, x) + 3


def covariances(y, group_size):
    """Biased covariance of each group of channels, (G, g, g)."""
    groups = y.transpose(0, 1).reshape(-1, group_size, y.numel() // y.shape[1])
    centered = groups - groups.mean(2, keepdim=True)
    return centered @ centered.mT / centered.shape[2]


@pytest.mark.parametrize("shape", [(6,), (6, 4, 5)])
def test_covariance_tends_to_the_identity(shape):
    x, errors = correlated(40, *shape), []
    for iterations in (1, 3, 5, 9, 15):
        y = build(shape, "norm.group_size=3", f"norm.iterations={iterations}", "norm.eps=1e-12")(x)
        errors.append((covariances(y, 3) - torch.eye(3, dtype=torch.float64)).abs().max().item())
    assert all(after < max(before, 1e-8) for before, after in pairwise(errors))
    assert errors[0] > 0.1
    assert errors[-1] < 1e-8
    y = build(shape, "norm.group_size=3", "norm.exact=true", "norm.eps=1e-12")(x)
    torch.testing.assert_close(covariances(y, 3), torch.eye(3, dtype=torch.float64).expand(2, 3, 3), rtol=0, atol=1e-9)


@given(
    group_size=st.integers(1, 4),
    groups=st.integers(1, 3),
    size=st.sampled_from([(), (2, 3), (1, 1)]),
    seed=st.integers(0, 99),
)
def test_exact_is_zca(*, group_size, groups, size, seed):
    """ZCA whitening: Sigma^(-1/2) (x - mu), from the singular values of the centered data, with eps on the diagonal."""
    x = correlated(12, group_size * groups, *size, seed=seed)
    y = build(x.shape[1:], f"norm.group_size={group_size}", "norm.exact=true", "norm.eps=0.01")(x)
    for start in range(0, x.shape[1], group_size):
        rows = x[:, start : start + group_size].movedim(1, -1).reshape(-1, group_size)
        centered = rows - rows.mean(0)
        _, values, vectors = torch.linalg.svd(centered / len(rows) ** 0.5, full_matrices=False)
        root = vectors.T @ torch.diag((values.square() + 0.01).rsqrt()) @ vectors
        ours = y[:, start : start + group_size].movedim(1, -1).reshape(-1, group_size)
        torch.testing.assert_close(ours, centered @ root, rtol=1e-7, atol=1e-7)


def test_newtons_iteration_as_in_the_paper():
    """Huang et al. 2019, algorithm 1: P_k = (3 P_{k-1} - P_{k-1}^3 Sigma_N) / 2, divided by the root of the trace."""
    root = torch.randn(4, 9, dtype=torch.float64)
    sigma = root @ root.T / 9
    scaled, p = sigma / sigma.trace(), torch.eye(4, dtype=torch.float64)
    for _ in range(5):
        p = (3 * p - torch.linalg.matrix_power(p, 3) @ scaled) / 2
    torch.testing.assert_close(newton_inverse_root(sigma, 5), p / sigma.trace().sqrt())


@pytest.mark.parametrize("exact", ["true", "false"])
@pytest.mark.parametrize("shape", [(4,), (4, 3, 2)])
def test_groups_of_one_are_batch_norm(shape, exact):
    norm = build(shape, "norm.group_size=1", f"norm.exact={exact}")
    plain = (nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d)(4).double()
    with torch.no_grad():
        for parameter, other in zip(norm.parameters(), plain.parameters(), strict=True):
            other.copy_(parameter.normal_())
    x, g = torch.randn(2, 8, *shape, dtype=torch.float64)
    gradients = []
    for module in (norm, plain):
        inputs = x.clone().requires_grad_()
        gradients.append(torch.autograd.grad(module(inputs), [inputs, *module.parameters()], g))
    torch.testing.assert_close(*gradients)
    torch.testing.assert_close(norm(x + 1), plain(x + 1))
    torch.testing.assert_close(norm.eval()(x), plain.eval()(x))
    torch.testing.assert_close(norm.running_cov.flatten(), plain.running_var)
    assert norm.num_batches_tracked == plain.num_batches_tracked == 2


@pytest.mark.parametrize("exact", ["true", "false"])
def test_gradients(exact):
    norm = build((4, 2, 2), "norm.group_size=2", f"norm.exact={exact}", "norm.eps=0.1")
    x = correlated(3, 4, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: norm(x), (x, *norm.parameters()))


def test_gradient_of_the_exact_root_where_eigenvalues_are_equal():
    """Here autograd through the eigenvectors divides by 0. The samples are the corners of a square."""
    norm = build((2,), "norm.group_size=2", "norm.exact=true")
    x = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, (x,))


def test_evaluation_whitens_with_the_running_covariance():
    """Not with the mean of the whitening matrices: batches whose covariances differ show it."""
    norm = build((4,), "norm.group_size=2", "norm.exact=true", "norm.momentum=0.5", "norm.affine=false")
    mean, cov = torch.zeros(4, dtype=torch.float64), torch.eye(2, dtype=torch.float64).repeat(2, 1, 1)
    for seed in range(3):
        x = correlated(10, 4, seed=seed)
        norm(x)
        unbiased = torch.stack([torch.cov(x[:, at : at + 2].T) for at in (0, 2)])
        mean, cov = mean.lerp(x.mean(0), 0.5), cov.lerp(unbiased, 0.5)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_cov, cov)
    y = norm.eval()(x)
    for at in (0, 1):
        values, vectors = torch.linalg.eigh(cov[at] + 1e-5 * torch.eye(2, dtype=torch.float64))
        root = vectors @ torch.diag(values.rsqrt()) @ vectors.T
        pair = slice(2 * at, 2 * at + 2)
        torch.testing.assert_close(y[:, pair], (x - mean)[:, pair] @ root)
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    with batch_statistics(nn.Sequential(norm)):
        torch.testing.assert_close(covariances(norm(x), 2), torch.eye(2).double().expand(2, 2, 2), rtol=0, atol=1e-3)
    assert all(torch.equal(buffer, before[name]) for name, buffer in norm.named_buffers())


@pytest.mark.parametrize("exact", ["true", "false"])
def test_stays_finite_in_float32(exact):
    """Constant and equal channels make the covariance singular."""
    norm = build((4,), "norm.group_size=4", f"norm.exact={exact}", "norm.iterations=20").float()
    x = torch.randn(16, 4) * 1e4
    x[:, 1], x[:, 2] = x[:, 0], 7.0
    x.requires_grad_()
    y = norm(x)
    y.square().sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    assert y.abs().max() < 100


def test_amp_computes_in_float32():
    model = build_model(compose("model=cnn", "norm=iternorm", "amp=bf16"))
    norm, x = model.conv1.norm, torch.randn(8, 16, 3, 3, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        y = norm(x)
    assert y.dtype == norm.running_cov.dtype == torch.float32
    rows = x.float().movedim(1, -1).reshape(-1, 16)
    want = torch.cov(rows[:, :4].T) * 0.1 + 0.9 * torch.eye(4)
    torch.testing.assert_close(norm.running_cov[0], want, rtol=1e-4, atol=1e-5)


def test_is_not_folded():
    with pytest.raises(ValueError, match="no batch norm"):
        fold(build_model(compose("model=cnn", "norm=iternorm")))


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["model=mlp", "norm.group_size=8"],
            "its 100 channels are not divisible into groups of 8. norm.group_size can be",
        ),
        (["model=mlp", "norm.group_size=20", "batch_size=20"], "a covariance of 20 channels needs more than 20 values"),
        (["model=mlp", "batch_size=1"], "Use batch_size=5 or more"),
        (["model=mlp", "batch_size=1", "norm.group_size=3"], "Use batch_size=2 or more and norm.group_size=1"),
        (["model=cnn", "norm.position=input"], "its 1 channels are not divisible into groups of 4"),
    ],
)
def test_refusals(overrides, sentence):
    with pytest.raises(ConfigError, match=sentence):
        compose("norm=iternorm", *overrides)
    assert compose("norm=iternorm", "model=mlp", "norm.group_size=20", "batch_size=21").norm.group_size == 20
