"""A network with one wide hidden layer."""

from collections import OrderedDict
from dataclasses import dataclass

from normexp.config import ModelConfig, number
from normexp.models.base import Model


@dataclass(frozen=True, kw_only=True)
class Wide(ModelConfig):
    units: int = number(minimum=1)


def layers(config, plan, image, classes):
    hidden = plan.linear("fc1", image, config.units, *plan.hidden)  # with norm, activation and dropout
    return [hidden, plan.linear("head", hidden.outputs, classes, "weight")]


def wire(config, layers):
    from torch import nn

    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), **layers))


ENTRY = Model(name="wide", title="one wide layer", config=Wide, layers=layers, wire=wire)
