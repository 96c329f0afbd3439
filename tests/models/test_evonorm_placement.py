"""EvoNorm-S0 is norm and activation in one: which activations it replaces, and what it is where there is none."""

import torch

from normexp.models import layers
from normexp.models.build import build_model
from normexp.models.describe import describe
from normexp.models.layer import named_layers
from tests.conftest import compose

RESNET = ["model=resnet", "model.depth=8", "model.width=8", "norm=evonorm"]


def parts_of(*overrides):
    return {plan.name: plan.parts for plan in layers(compose(*overrides))}


def test_it_replaces_the_activation_next_to_it():
    noisy = ["dropout=0.1", "dropout_at=norm", "noise=0.5"]
    assert parts_of("model=mlp", "norm=evonorm")["fc1"] == ("weight", "norm")
    assert parts_of("model=mlp", "norm=evonorm", *noisy)["fc1"] == ("weight", "dropout", "norm", "noise")
    assert parts_of("model=mlp", "norm=evonorm", "norm.position=post", *noisy)["fc1"] == (
        "weight",
        "dropout",
        "norm",
        "noise",
    )
    assert parts_of(*RESNET)["block1.out"] == ("activation",)
    assert parts_of("norm=evonorm", "norm.layers=[conv1]")["conv2"] == ("weight", "activation")


def test_an_activation_after_the_weight_stays():
    """Otherwise the last hidden layer and the head would be two linear maps in a row."""
    chosen = ["model=mlp", "norm=evonorm", "norm.position=input", "norm.groups=1"]
    assert parts_of(*chosen)["fc1"] == ("norm", "weight", "activation")


def test_without_an_activation_next_to_it_it_only_normalizes():
    config = compose(*RESNET)
    model = build_model(config).double()
    conv1, conv2 = (named_layers(model)[f"block2.{name}"].get_submodule("norm") for name in ("conv1", "conv2"))
    assert {name for name, _ in conv1.named_parameters()} == {"weight", "bias", "v"}
    assert {name for name, _ in conv2.named_parameters()} == {"weight", "bias"}
    x = 3 + torch.randn(2, 16, 4, 4, dtype=torch.float64)
    grouped = x.reshape(2, 4, -1)
    variance = (grouped - grouped.mean(2, keepdim=True)).square().mean(2, keepdim=True)
    want = (grouped / (variance + 1e-5).sqrt()).reshape(x.shape)
    torch.testing.assert_close(conv2(x), want, rtol=0, atol=1e-12)
    assert sum(row.parameters + row.norm_parameters for row in describe(config)) == sum(
        p.numel() for p in model.parameters()
    )
