"""Users' networks: reused and frozen layers, other orders, other dtypes, non-finite values."""

import copy
import math

import pytest
import torch
from torch import nn

from normexp.models.build import build_model
from normexp.models.layer import named_layers
from tests.conftest import compose
from tests.probes.watcher import ALL, Watcher, close, images


class Own(nn.Module):
    """A network with a layer that is called twice, one that is frozen, and one that is never called."""

    def __init__(self, config):
        super().__init__()
        built = named_layers(build_model(config))
        self.twice, self.frozen, self.unused, self.head = (built[n] for n in ("fc2", "fc3", "fc4", "head"))
        self.first = built["fc1"]
        self.frozen.requires_grad_(False)
        self.twice.activation = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.head(self.frozen(self.twice(self.twice(self.first(x.flatten(1))))))


@pytest.mark.parametrize("norm", ["none", "bn"])
def test_reused_frozen_and_unused_layers(norm):
    config = compose("model=mlp", "model.depth=4", f"norm={norm}", *ALL, "probe.every=1")
    watcher = Watcher(Own(config), config)
    inputs, labels = images()
    seen = []
    handle = watcher.model.twice.activation.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    frozen = copy.deepcopy(watcher.model.frozen.state_dict())
    found = watcher(inputs, labels)
    handle.remove()
    both = torch.cat(seen[:2]).detach()  # later ones are of the landscape's own passes
    assert sum(found.histograms["activation_in/twice"].counts) == both.numel()
    assert found.scalars["activation_in/twice/mean"] == close(both.double().mean(), abs=1e-6)
    assert found.scalars["activation_in/twice/p1"] < 0  # before the activation worked in place
    assert found.scalars["update_ratio/frozen"] == 0
    assert "grad_weight/frozen" not in found.scalars
    assert found.scalars["grad_flow/frozen"] > 0
    assert not any(tag.endswith("/unused") for tag in found.histograms if tag.startswith("activation"))
    weights = [key for key in frozen if "running" not in key and "num_batches" not in key]
    assert all(torch.equal(frozen[key], watcher.model.frozen.state_dict()[key]) for key in weights)
    assert watcher(inputs, labels).scalars["noise_scale/total"] is not None


class Backwards(nn.Module):
    """A network that registers its last layer first."""

    def __init__(self, built):
        super().__init__()
        for name in reversed(built):
            self.add_module(name, built[name])

    def forward(self, x):
        return self.head(self.fc3(self.fc2(self.fc1(x.flatten(1)))))


def test_layers_are_ordered_by_their_calls():
    config = compose("model=mlp", "norm=none", "activation=sigmoid", "probe=landscape", "probe.every=1")
    watcher = Watcher(build_model(config), config)
    backwards = Watcher(Backwards(named_layers(build_model(config))), config)
    inputs, labels = images()
    found, turned = watcher(inputs, labels).scalars, backwards(inputs, labels).scalars
    for tag in ("grad_growth/flow", "grad_growth/weight", "shift_cosine/head", "shift_distance/fc2"):
        assert turned[tag] == close(found[tag]), tag
    assert turned["grad_growth/flow"] < 0  # sigmoids make it vanish
    assert "shift_cosine/fc1" not in turned


def test_a_denominator_of_zero_gives_none():
    config = compose("init=normal", "init.std=1e-300", "norm=none", "model=mlp", "probe=landscape", "probe.every=1")
    watcher = Watcher(build_model(config), config)
    with torch.no_grad():
        for parameter in watcher.model.parameters():
            parameter.zero_()
    found = watcher(*images()).scalars
    assert found["weight_norm/fc2"] == 0
    assert found["update_ratio/fc2"] is found["shift_cosine/fc2"] is found["drift/fc2"] is None


def test_half_precision():
    config = compose("probe='off'", "probe.affine=true", "probe.batch_statistics=true", "probe.every=1")
    watcher = Watcher(build_model(config).bfloat16(), config)
    found = watcher(images()[0].bfloat16(), images()[1])
    assert found.scalars["gamma/conv1/mean"] == 1
    assert found.scalars["batch_var_ratio/conv1"] > 0


def test_activations_with_a_parameter_per_channel_or_random_numbers():
    config = compose("model=mlp", "model.width=500", "norm=none", "probe.samples=1024", "probe.every=1")
    model = build_model(config)
    model.fc1.activation, model.fc2.activation = nn.PReLU(500), nn.RReLU()
    torch.manual_seed(5)
    with torch.no_grad():
        copy.deepcopy(model).train()(images()[0])
    state = torch.get_rng_state()
    torch.manual_seed(5)
    found = Watcher(model, config)(*images()).scalars
    assert torch.equal(state, torch.get_rng_state())
    assert "derivative/fc1" not in found  # the sample lacks channels
    assert found["dead/fc1"] == 0
    assert 0.5 < found["derivative/fc2"] < 1
    assert found["derivative/fc3"] > 0


def test_non_finite_values_are_counted():
    config = compose("model=mlp", *ALL, "probe.every=1", "norm=none")
    watcher = Watcher(build_model(config), config)
    with torch.no_grad():
        watcher.model.fc2.weight.weight[:3] = math.inf
    found = watcher(*images())
    assert found.scalars["activation_in/fc2/nonfinite"] == 32 * 3
    assert sum(found.histograms["activation_in/fc2"].counts) == 32 * 97
    assert found.scalars["activation_in/fc2/mean"] is not None
    assert found.scalars["activation_in/fc3/nonfinite"] == 32 * 100
    assert sum(found.histograms["activation_in/fc3"].counts) == 0
    assert found.scalars["activation_in/fc3/mean"] is None
    assert "activation_in/fc1/nonfinite" not in found.scalars
    assert found.scalars["saturated/fc2"] > 0.3  # of those that are finite
    assert found.scalars["saturated/fc3"] is found.scalars["dead/fc3"] is found.scalars["derivative/fc3"] is None


def test_dead_units_are_those_that_are_never_active():
    config = compose("norm=none", "probe.every=1")
    watcher = Watcher(build_model(config), config)
    with torch.no_grad():
        watcher.model.conv2.weight.bias[:8] = -1e3
    found = watcher(*images()).scalars
    assert (found["dead/conv1"], found["dead/conv2"]) == (0, 8 / 32)


def test_constant_channels_do_not_jump():
    """Their standard deviation is only rounding: dividing by it would give jumps of 100,000."""
    config = compose("model=mlp", "norm=none", "probe.jumps=true", "probe.every=1")
    watcher = Watcher(build_model(config), config, lr=0)
    inputs = torch.zeros(64, 1, 8, 8), torch.zeros(64, dtype=torch.long)
    watcher(*inputs)
    with torch.no_grad():
        for parameter in watcher.model.parameters():
            parameter.mul_(1.01)
    found = watcher(*inputs).scalars
    assert found["jump/fc1"] is found["unit_drift/fc1"] is None


class Twice(nn.Module):
    """Calls an activation with inputs of different widths."""

    def __init__(self, layers):
        super().__init__()
        self.layers, self.activation = layers, layers.fc1.activation

    def forward(self, x):
        x = self.layers(x)
        self.activation(x)
        return x


def test_an_activation_called_with_two_widths_has_no_numbers_per_channel():
    config = compose("model=mlp", "norm=none", "probe.jumps=true", "probe.every=1")
    watcher = Watcher(Twice(build_model(config)), config)
    for seed in range(2):
        found = watcher(*images(seed=seed)).scalars
    assert not any(tag.startswith(("jump/", "unit_drift/")) and tag.endswith("fc1") for tag in found)
    assert not any(tag.startswith("dead/") and tag.endswith("fc1") for tag in found)
    assert any(tag.startswith("saturated/") and tag.endswith("fc1") for tag in found)
