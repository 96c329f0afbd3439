"""VGG (Simonyan and Zisserman 2015, table 1, A, B, D and E): five stages of 3x3 convolutions, each followed by a max pool.

Santurkar et al. 2018 compare VGG on CIFAR-10 with and without batch norm. The stages have 1, 2, 4, 8 and 8 times `width`
channels; the paper's width is 64. A pool halves height and width, rounded down. Those between the stages are left out where
less than 2x2 pixels would remain, so that every convolution and its norm see a map: 28x28 images have three of the four, 8x8
images two. The last pool leaves 1x1 of 32x32, 28x28 and 8x8 images.

head=fc: two fully connected layers, as in the paper. head=gap: the average over what the last pool leaves.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from normexp.config import ConfigError, ModelConfig, join_names, number
from normexp.models.base import LayerPlan, Model, Module, Planner, Shape

STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions per stage by depth, which counts the paper's three fully connected layers too."""

MULTIPLES = (1, 2, 4, 8, 8)
"""Channels of the stages, in multiples of `width`."""


@dataclass(frozen=True, kw_only=True)
class VGG(ModelConfig):
    depth: int = number(minimum=1)
    width: int = number(minimum=1)
    head: Literal["gap", "fc"]
    fc_width: int = number(minimum=1)


def layers(config: VGG, plan: Planner, image: Shape, classes: int) -> list[LayerPlan]:
    if config.depth not in STAGES:
        raise ConfigError(
            f"model.depth={config.depth}: the depth of a vgg must be one of {join_names(map(str, STAGES))}; "
            f"use {min(STAGES, key=lambda depth: abs(depth - config.depth))}."
        )
    plans: list[LayerPlan] = []
    inputs = image
    for convs, multiple in zip(STAGES[config.depth], MULTIPLES, strict=True):
        if plans:
            inputs = _pooled(inputs, smallest=2)
        for _ in range(convs):
            plans.append(plan.conv(f"conv{len(plans) + 1}", inputs, config.width * multiple, *plan.hidden))
            inputs = plans[-1].outputs
    inputs = _pooled(inputs, smallest=1)
    if config.head == "gap":
        return [*plans, plan.linear("head", inputs[:1], classes, "weight")]
    for name in ("fc1", "fc2"):
        plans.append(plan.linear(name, inputs, config.fc_width, *plan.hidden))
        inputs = plans[-1].outputs
    return [*plans, plan.linear("head", inputs, classes, "weight")]


def _pooled(shape: Shape, *, smallest: int) -> Shape:
    """The shape (C, H, W) after a 2x2 max pool, which is left out if a side would be less than `smallest`."""
    channels, *sides = shape
    halves = [side // 2 for side in sides]
    return (channels, *halves) if min(halves) >= smallest else shape


def wire(config: VGG, layers: dict[str, Module]) -> Module:
    from torch import nn

    from normexp.models.layer import GlobalAveragePool, Layer

    plans = {name: layer.plan for name, layer in layers.items() if isinstance(layer, Layer)}
    modules: OrderedDict[str, Module] = OrderedDict()
    convs = [name for name in layers if name.startswith("conv")]
    for name, following in zip(convs, [*convs[1:], None], strict=True):
        modules[name] = layers[name]
        shape = plans[name].outputs
        after = _pooled(shape, smallest=1) if following is None else plans[following].inputs
        if after != shape:
            modules[name.replace("conv", "pool")] = nn.MaxPool2d(2)
    modules["flatten"] = nn.Flatten() if config.head == "fc" else GlobalAveragePool()
    return nn.Sequential(modules | {name: layer for name, layer in layers.items() if name not in convs})


ENTRY = Model(name="vgg", title="VGG", config=VGG, layers=layers, wire=wire, averages=False)
