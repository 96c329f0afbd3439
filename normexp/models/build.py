"""Build the network of a config."""

from typing import Any, cast

import torch
from torch import nn

from normexp.config import Config
from normexp.models import MODELS, layers
from normexp.models.base import normalized_weights
from normexp.models.init import initialize
from normexp.models.layer import Layer, in_float32, named_layers
from normexp.models.zero_last import zeroed_layers
from normexp.streams import stream_seed
from normexp.weights import WEIGHTS


def build_model(config: Config) -> nn.Module:
    """Build and initialize the network, which maps images (B, C, H, W) to logits (B, classes)."""
    with torch.random.fork_rng(devices=[]):  # for users' modules; the weights have their own streams
        torch.default_generator.manual_seed(stream_seed(config.seed, "modules"))
        built = {plan.name: Layer(plan, config) for plan in layers(config)}
    initialize(built, config)
    for name in zeroed_layers(config, [layer.plan for layer in built.values()]):
        nn.init.zeros_(built[name].get_submodule("norm").get_parameter("weight"))
    _normalize_weights(built, config)
    model = MODELS[config.model.name].wire(config.model, built)
    names = set(named_layers(model))  # probes refer to them
    assert names == set(built), f"models/{config.model.name}.py: wire must name each layer as in its plan: {names}"
    return model


def _normalize_weights(built: dict[str, Layer], config: Config) -> None:
    """Parametrize the drawn weights as `weight` says. What that draws has its own random streams, so that the weights are those
    of a network without it."""
    for name, filters in normalized_weights(config, [layer.plan for layer in built.values()]).items():
        module = built[name].get_submodule("weight")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(stream_seed(config.seed, "weight", name))
            WEIGHTS[config.weight.name].apply(config.weight, filters, module)
        if config.amp is not None:
            for parametrization in module.get_submodule("parametrizations.weight").children():
                object.__setattr__(parametrization, "__class__", in_float32(cast(Any, type(parametrization))))
