"""The gradient norms that are logged with the loss."""

import pytest
import torch
from torch import nn

from normexp.models.build import build_model
from normexp.models.layer import named_layers
from normexp.probes.gradients import GradientNorms, growth_per_layer
from tests.conftest import compose


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


def test_frozen_layers_and_layers_without_a_gradient_do_not_break_the_norms():
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


def test_growth_is_a_factor_a_layer_on_the_way_back():
    assert growth_per_layer([8.0, 4.0, 2.0, 1.0]) == pytest.approx(
        0.6931, abs=1e-4
    )  # twice as large in each layer below
    assert growth_per_layer([1.0, 10.0, 100.0]) == pytest.approx(-2.3026, abs=1e-4)  # vanishing
    assert growth_per_layer([1.0]) is growth_per_layer([]) is growth_per_layer([0.0, 1.0]) is None
