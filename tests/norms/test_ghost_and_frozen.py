"""Batch norm in ghost batches, and frozen from a step on."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from normexp.config import ConfigError
from normexp.data.splits import Split
from normexp.models.build import build_model
from normexp.models.describe import describe, warnings
from normexp.norms import NORMS, Site
from normexp.norms.bn_module import GhostBatchNorm
from normexp.norms.fold import fold
from normexp.norms.running import whole_ghost_batches
from normexp.training.evaluate import evaluate_with_batch_statistics, recomputed_statistics
from tests.conftest import compose
from tests.norms.test_fold import norms, with_statistics
from tests.training.short import SMALL, train_and_record

SHAPES = st.one_of(st.tuples(st.integers(1, 5)), st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4)))


def ghost(channels, size=None, freeze_at=None, affine=True):
    norm = GhostBatchNorm(
        channels, ghost_batch=size, freeze_at=freeze_at, eps=1e-3, momentum=0.2, affine=affine
    ).double()
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.normal_()
    return norm


def gradients(norm, x, g):
    x = x.clone().requires_grad_()
    y = norm(x)
    return y, *torch.autograd.grad(y, [x, *norm.parameters()], g)


@given(shape=SHAPES, size=st.integers(2, 4), count=st.integers(1, 4), affine=st.booleans(), seed=st.integers(0, 99))
def test_is_batch_norm_of_each_chunk(*, shape, size, count, affine, seed):
    torch.manual_seed(seed)
    x, g = 3 + 2 * torch.randn(2, size * count, *shape, dtype=torch.float64)
    norm = ghost(shape[0], size, affine=affine)
    plain = (nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d)(shape[0], eps=1e-3, affine=affine).double()
    plain.load_state_dict(norm.state_dict())

    def by_chunks(x):
        return torch.cat([plain(chunk) for chunk in x.split(size)])

    by_chunks.parameters = plain.parameters
    for ours, theirs in zip(gradients(norm, x, g), gradients(by_chunks, x, g), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    over = [0, *range(2, x.dim())]
    means = torch.stack([chunk.mean(over) for chunk in x.split(size)])
    unbiased = torch.stack([chunk.var(over) for chunk in x.split(size)])
    torch.testing.assert_close(norm.running_mean, 0.2 * means.mean(0))
    torch.testing.assert_close(norm.running_var, 0.8 + 0.2 * unbiased.mean(0))
    assert norm.num_batches_tracked == 1


def test_gradient_of_chunks():
    x = torch.randn(6, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    norm = ghost(2, 2)
    assert torch.autograd.gradcheck(lambda x, *_: norm(x), (x, *norm.parameters()))


def test_a_ghost_batch_of_the_batch_size_is_bn_bit_for_bit():
    overrides = ["model=cnn", "norm=bn", "batch_size=32", "amp=bf16"]
    plain, _, _ = train_and_record(*overrides)
    whole, _, _ = train_and_record(*overrides, "norm.ghost_batch=32", "norm.freeze_at=1000")
    for one, two in zip(plain, whole, strict=True):
        differing = {tag for tag in one.scalars if one.scalars[tag] != two.scalars[tag]}
        assert not {tag for tag in differing if "second" not in tag}
    half, _, _ = train_and_record(*overrides, "norm.ghost_batch=16")
    assert half[-1].scalars["train/loss"] != plain[-1].scalars["train/loss"]


def test_evaluation_and_batch_statistics_with_ghost_batches():
    norm, x = ghost(3, 4), torch.randn(12, 3, dtype=torch.float64)
    norm.running_mean.normal_()
    frozen = copy.deepcopy(norm.state_dict())
    want = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, eps=1e-3)
    torch.testing.assert_close(norm.eval()(x), want)
    with torch.no_grad(), recomputed_statistics(nn.Sequential(norm.train()), x.split(12), estimator="paper"):
        torch.testing.assert_close(norm.running_mean, x.mean(0))
        torch.testing.assert_close(norm.running_var, torch.stack([part.var(0) for part in x.split(4)]).mean(0))
    assert all(torch.equal(value, frozen[name]) for name, value in norm.state_dict().items())


@pytest.mark.parametrize(("samples", "used"), [(70, 64), (40, 32), (18, 16), (11, 11)])
def test_batch_statistics_of_a_split_use_whole_ghost_batches(samples, used):
    """Training has batches of 64. A split that fills none is one batch of its whole ghost batches."""
    norm = ghost(10, 16)
    assert whole_ghost_batches(nn.Sequential(norm), min(64, samples)) == used
    images = torch.randint(256, (samples, 10, 1, 1), dtype=torch.uint8)
    split = Split(images, torch.randint(10, (samples,)), torch.zeros(1, 10, 1, 1), torch.ones(1, 10, 1, 1))
    seen = []
    before = copy.deepcopy(norm.state_dict())
    norm.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    net = nn.Sequential(nn.Flatten(), _Double(), norm)
    evaluate_with_batch_statistics(net, split, 64)
    assert set(seen) == {used}
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


class _Double(nn.Module):
    def forward(self, x):
        return x.double()


def test_refuses_ghost_batches_that_do_not_fit():
    with pytest.raises(ConfigError, match=r"a batch of 64 samples can't be divided into ghost batches of 48"):
        compose("norm.ghost_batch=48")
    with pytest.raises(ConfigError, match=r"Use norm.ghost_batch=2 or more"):
        compose("norm.ghost_batch=1", "model=mlp")
    assert compose("norm.ghost_batch=1", "model=cnn").norm.ghost_batch == 1
    with pytest.raises(ValueError, match="a batch of 10 samples"):
        ghost(3, 4)(torch.randn(10, 3, dtype=torch.float64))


def test_describe_counts_the_values_of_a_ghost_batch():
    row = describe(compose("norm.ghost_batch=16", "model=mlp"))[0]
    assert row.statistics == "B: 16 values, 400 statistics"
    assert NORMS["bn"].sizes(compose("norm.ghost_batch=16").norm, Site("a", (8, 3, 2)), 64) == {"B": 16, "H": 3, "W": 2}


def test_a_frozen_norm_is_an_affine_map_in_training_too():
    norm, x = ghost(3, freeze_at=3), torch.randn(8, 3, 2, 2, dtype=torch.float64)
    for step in (1, 2):
        norm.start_step(step, 10)
        norm(x + step)
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    assert before["num_batches_tracked"] == 2
    norm.start_step(3, 10)
    norm.eval()
    norm.train()  # does not unfreeze
    per_channel = (1, 3, 1, 1)
    scale = norm.weight / (before["running_var"] + 1e-3).sqrt()
    want = (x - before["running_mean"].view(per_channel)) * scale.view(per_channel) + norm.bias.view(per_channel)
    torch.testing.assert_close(norm(x), want)
    norm(x).square().sum().backward()
    assert (norm.weight.grad != 0).all()
    assert all(torch.equal(buffer, before[name]) for name, buffer in norm.named_buffers())


@pytest.mark.parametrize("freeze_at", [0, 1])
def test_frozen_from_the_start(freeze_at):
    overrides = ["model=mlp", "norm=bn", f"norm.freeze_at={freeze_at}"]
    _, parts, outcome = train_and_record(*overrides)
    assert outcome.state == "completed"
    buffers = dict(parts.model.named_buffers())
    assert all((b == float("var" in name)).all() for name, b in buffers.items())
    assert (parts.model.fc1.norm.weight != 1).any()


def test_a_freeze_after_the_end_is_noted():
    config = compose(*SMALL, "norm.freeze_at=13")
    assert "norm.freeze_at=13 has no effect: the run has 12 steps." in warnings(config, {})
    assert not [line for line in warnings(compose(*SMALL, "norm.freeze_at=12"), {}) if "freeze" in line]


@pytest.mark.parametrize("option", ["norm.freeze_at=0", "norm.ghost_batch=2"])
def test_folds(option):
    model = with_statistics(build_model(compose("model=mlp", "norm=bn", option)))
    x = torch.randn(3, 1, 8, 8, dtype=torch.float64)
    folded = fold(model)
    assert norms(folded) == 0
    torch.testing.assert_close(folded(x), model.eval()(x), rtol=0, atol=1e-10)


def test_frozen_statistics_are_not_recomputed():
    with pytest.raises(ConfigError, match=r"Use norm\.statistics=running"):
        compose("norm=bn", "norm.freeze_at=10", "norm.statistics=recomputed")
