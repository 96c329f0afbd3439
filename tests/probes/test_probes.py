"""Probes against direct computations in float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from normexp.models.layer import build_model, named_layers
from normexp.probes.activations import ActivationLook, find_activations
from normexp.probes.gradients import GradientNorms
from normexp.probes.histogram import BINS, Sampler, histograms
from tests.conftest import compose

FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(st.lists(st.lists(FLOATS, min_size=1, max_size=40), min_size=1, max_size=4))
def test_histograms_hold_every_finite_value_and_count_the_others(rows):
    for values, result in zip(rows, histograms([torch.tensor(row) for row in rows]), strict=True):
        finite = [v for v in values if math.isfinite(v)]
        assert sum(result.counts) == len(finite)
        assert result.nonfinite == len(values) - len(finite)
        assert len(result.edges) == BINS + 1
        assert len(result.counts) == BINS
        if finite:
            assert (result.minimum, result.maximum) == (min(finite), max(finite))
            assert result.total == pytest.approx(math.fsum(finite), rel=1e-9, abs=1e-6 * max(map(abs, finite)))
            assert result.edges == sorted(result.edges)
            rounding = 1e-12 * max(map(abs, finite))
            assert result.edges[0] <= min(finite) + rounding
            assert result.edges[-1] >= max(finite) - rounding


def test_histograms_are_numpys():
    samples = [torch.randn(5000), 3 * torch.rand(300) - 1, torch.randn(70).exp()]
    for sample, result in zip(samples, histograms(samples), strict=True):
        counts, edges = np.histogram(sample.double().numpy(), bins=BINS)
        np.testing.assert_allclose(result.edges, edges)
        assert result.counts == counts.tolist()
        assert result.total_squares == pytest.approx(sample.double().square().sum().item())


def test_a_constant_stands_in_the_middle():
    (result,) = histograms([torch.full((7,), 2.0)])
    assert result.counts[BINS // 2] == 7
    assert result.edges[0] < 2 < result.edges[-1]


def test_the_sampler_takes_all_of_a_small_tensor_and_a_fair_part_of_a_large_one():
    small = torch.arange(10.0).reshape(2, 5)
    assert sorted(Sampler(10)(small).tolist()) == list(range(10))
    large = torch.randn(64, 16, 28, 28)
    sampler, state = Sampler(4096), torch.get_rng_state()
    sample = sampler(large)
    assert len(sample) == 4096
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(sample, sampler(large))
    # Of a sample of n, the mean is off by std/sqrt(n) = 0.016, and a percentile by little more.
    for q in (0.15, 0.5, 0.85):
        direct = np.quantile(large.numpy(), q)
        assert np.quantile(sample.numpy(), q) == pytest.approx(direct, abs=0.1)


def test_the_sampler_does_not_copy_channels_last():
    values = torch.randn(4, 8, 5, 5).to(memory_format=torch.channels_last)
    assert sorted(Sampler(10**6)(values).tolist()) == sorted(values.flatten().tolist())


@pytest.mark.parametrize("model", ["mlp", "cnn", "resnet"])
def test_a_look_sees_what_enters_and_leaves_each_activation_and_goes(model):
    config = compose(f"model={model}", *(["model.depth=8", "model.width=4"] if model == "resnet" else []))
    net = build_model(config)
    layers = named_layers(net)
    watched = find_activations(layers)
    direct: dict[str, list[float]] = {}
    for name, module in watched.items():
        module.register_forward_hook(
            lambda m, args, out, name=name: direct.update(
                {f"activation/{name}/in": args[0].flatten().tolist(), f"activation/{name}/out": out.flatten().tolist()}
            )
        )
    hooks = sum(len(module._forward_hooks) for module in net.modules())
    with ActivationLook(watched, Sampler(10**9)) as look:
        assert sum(len(module._forward_hooks) for module in net.modules()) > hooks
        net(torch.randn(4, 1, 8, 8))
    assert sum(len(module._forward_hooks) for module in net.modules()) == hooks
    found = look.histograms()
    assert list(found) == [tag for name in watched for tag in (f"activation/{name}/in", f"activation/{name}/out")]
    for tag, histogram in found.items():
        counts, _ = np.histogram(direct[tag], bins=BINS)
        assert histogram.counts == counts.tolist(), tag
    assert len(watched) == {"mlp": 3, "cnn": 3, "resnet": 7}[model]


def test_hooks_are_gone_after_an_error():
    net = build_model(compose())
    with pytest.raises(RuntimeError, match="size"), ActivationLook(find_activations(named_layers(net)), Sampler(100)):
        net(torch.randn(2, 5, 8, 8))
    assert not any(module._forward_hooks for module in net.modules())


def test_gradient_norms_add_up_and_agree_with_autograd():
    net = build_model(compose("norm=gn")).double()
    layers = named_layers(net)
    net(torch.randn(8, 1, 8, 8, dtype=torch.float64)).square().sum().backward()
    probe = GradientNorms(layers)
    found = probe.by_layer(probe.on_device().tolist())
    for name, layer in layers.items():
        flat = torch.cat([p.grad.flatten() for p in layer.parameters()])
        assert found[f"grad_norm/{name}"] == pytest.approx(flat.norm().item(), rel=1e-12)
    everything = torch.cat([p.grad.flatten() for p in net.parameters()]).norm().item()
    assert found["grad_norm/total"] == pytest.approx(everything, rel=1e-12)


def test_gradients_too_small_to_be_squared_in_float32_have_a_norm():
    net = build_model(compose("model=mlp", "model.depth=30", "activation=sigmoid", "norm=none"))
    nn.functional.cross_entropy(net(torch.randn(8, 1, 8, 8)), torch.arange(8)).backward()
    probe = GradientNorms(named_layers(net))
    found = probe.by_layer(probe.on_device().tolist())
    direct = torch.cat([p.grad.double().flatten() for p in net.fc1.parameters()]).norm().item()
    assert 0 < direct < 1e-20
    assert found["grad_norm/fc1"] == pytest.approx(direct, rel=1e-6)


def test_frozen_layers_and_layers_without_a_gradient_do_not_break_the_probe():
    net = build_model(compose())
    layers = named_layers(net)
    for p in layers["conv1"].parameters():
        p.requires_grad_(False)
    probe = GradientNorms(layers)
    nn.functional.cross_entropy(net(torch.randn(8, 1, 8, 8)), torch.zeros(8, dtype=torch.long)).backward()
    layers["conv2"].zero_grad()
    found = probe.by_layer(probe.on_device().tolist())
    assert "grad_norm/conv1" not in found
    assert found["grad_norm/conv2"] == 0
    assert found["grad_norm/head"] > 0
