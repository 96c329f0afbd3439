"""Build the network of a config."""

import torch
from torch import nn

from normexp.config import Config
from normexp.models import MODELS, layers
from normexp.models.init import initialize
from normexp.models.layer import Layer, named_layers
from normexp.streams import stream_seed


def build_model(config: Config) -> nn.Module:
    """Build and initialize the network, which maps images (B, C, H, W) to logits (B, classes)."""
    with torch.random.fork_rng(devices=[]):  # for users' modules; the weights have their own streams
        torch.default_generator.manual_seed(stream_seed(config.seed, "modules"))
        built = {plan.name: Layer(plan, config) for plan in layers(config)}
    initialize(built, config)
    model = MODELS[config.model.name].wire(config.model, built)
    names = set(named_layers(model))  # probes refer to them
    assert names == set(built), f"models/{config.model.name}.py: wire must name each layer as in its plan: {names}"
    return model
