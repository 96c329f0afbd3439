"""Small CNN: stages of convolutions, then global average pooling or a fully connected layer, and the head.

Each stage after the first halves height and width by stride, as in Springenberg et al. 2015.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from normexp.config import ConfigError, ModelConfig, number, show
from normexp.models.base import LayerPlan, Model, Module, Planner, Shape


@dataclass(frozen=True, kw_only=True)
class CNN(ModelConfig):
    channels: tuple[int, ...] = number(minimum=1)
    convs: int = number(minimum=1)
    kernel: int = number(minimum=1)
    head: Literal["gap", "fc"]
    fc_width: int = number(minimum=1)


def layers(config: CNN, plan: Planner, image: Shape, classes: int) -> list[LayerPlan]:
    if not config.channels:
        raise ConfigError("model.channels=[]: needs at least one stage, such as model.channels=[16,32].")
    if config.kernel % 2 == 0:
        raise ConfigError(f"model.kernel={show(config.kernel)}: model.kernel must be odd, such as {config.kernel + 1}.")
    plans: list[LayerPlan] = []
    inputs = image
    for stage, channels in enumerate(config.channels):
        for i in range(config.convs):
            stride = 2 if stage > 0 and i == 0 else 1
            name = f"conv{len(plans) + 1}"
            plans.append(plan.conv(name, inputs, channels, *plan.hidden, kernel=config.kernel, stride=stride))
            inputs = plans[-1].outputs
    if config.head == "fc":
        plans.append(plan.linear("fc1", inputs, config.fc_width, *plan.hidden))
        inputs = plans[-1].outputs
    return [*plans, plan.linear("head", inputs[:1], classes, "weight")]


def wire(config: CNN, layers: dict[str, Module]) -> Module:
    from torch import nn

    from normexp.models.layer import GlobalAveragePool

    convs = len(config.channels) * config.convs
    reduction = {"pool": GlobalAveragePool()} if config.head == "gap" else {"flatten": nn.Flatten()}
    modules = [*layers.items()]
    return nn.Sequential(OrderedDict([*modules[:convs], *reduction.items(), *modules[convs:]]))


ENTRY = Model(name="cnn", title="small convolutional network", config=CNN, layers=layers, wire=wire)
