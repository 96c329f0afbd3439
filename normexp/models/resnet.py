"""Residual networks for CIFAR of He et al. 2015 (section 4.2), and their preact variant of He et al. 2016.

depth = 6n + 2: a 3x3 convolution, three stages of n blocks of two 3x3 convolutions with `width`, 2 and 4 times `width`
channels, global average pooling, and a linear layer. Stages 2 and 3 halve height and width in their first block,
whose shortcut is a 1x1 convolution with the norm (the paper's option B).

Parts of a block by `norm.position`; `conv1`, `conv2`, `shortcut`, `out` and `preact` are its layers:

    original  pre   W norm act drop | W norm | + shortcut | act
    original  post  W act norm drop | W      | + shortcut | act norm
    original  input norm W act drop | norm W | + shortcut | act
    preact    pre   norm act W | norm act drop W | + shortcut
    preact    post  act norm W | act norm drop W | + shortcut

In a preact block that changes the shape, both branches share the first norm and activation (`preact`), as in the code published
with He et al. 2016, and the shortcut is a 1x1 convolution without a norm. A preact network has another norm and activation
after the last block (`final`), and none after its first convolution. Its norms already precede the weights, so `input` is
refused. Dropout is only inside the blocks (Zagoruyko and Komodakis 2016, section 2.4).
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from normexp.config import ConfigError, ModelConfig, number
from normexp.models.base import LAYER, LayerPlan, Model, Module, Planner, Shape


@dataclass(frozen=True, kw_only=True)
class ResNet(ModelConfig):
    depth: int = number(minimum=8)
    width: int = number(minimum=1)
    block: Literal["original", "preact"]


def layers(config: ResNet, plan: Planner, image: Shape, classes: int) -> list[LayerPlan]:
    blocks, left = divmod(config.depth - 2, 6)
    if left:
        near = f"{6 * blocks + 2} or {6 * blocks + 8}"
        raise ConfigError(f"model.depth={config.depth}: the depth of a resnet must be 6n+2; use {near}.")
    preact = config.block == "preact"
    if preact and plan.position == "input":
        raise ConfigError(
            "norm.position=input: with model.block=preact, the norms already precede the weights. Use norm.position=pre or post, "
            "or model.block=original."
        )
    plans = [plan.conv("conv1", image, config.width, *(("weight",) if preact else LAYER[plan.position]))]
    inputs = plans[0].outputs
    for i in range(3 * blocks):
        channels = config.width * 2 ** (i // blocks)
        stride = 2 if i in (blocks, 2 * blocks) else 1
        block = _preact_block if preact else _original_block
        plans += block(plan, f"block{i + 1}", inputs, channels, stride)
        inputs = plans[-1].outputs
    if preact:
        plans.append(plan.parts("final", inputs, *plan.normed_activation))
    return [*plans, plan.linear("head", inputs[:1], classes, "weight")]


def _original_block(plan: Planner, name: str, inputs: Shape, channels: int, stride: int) -> list[LayerPlan]:
    # The shortcut is added before the second activation. With `post`, the norm comes after that too.
    parts = LAYER[plan.position]
    split = parts.index("activation")
    plans = [plan.conv(f"{name}.conv1", inputs, channels, *plan.hidden, stride=stride)]
    plans.append(plan.conv(f"{name}.conv2", plans[0].outputs, channels, *parts[:split]))
    if stride > 1:
        linear = (part for part in parts if part != "activation")
        plans.append(plan.conv(f"{name}.shortcut", inputs, channels, *linear, kernel=1, stride=stride))
    return [*plans, plan.parts(f"{name}.out", plans[0].outputs, *parts[split:])]


def _preact_block(plan: Planner, name: str, inputs: Shape, channels: int, stride: int) -> list[LayerPlan]:
    normed = plan.normed_activation
    preact = [plan.parts(f"{name}.preact", inputs, *normed)] if stride > 1 else []
    conv1 = plan.conv(f"{name}.conv1", inputs, channels, *(() if preact else normed), "weight", stride=stride)
    conv2 = plan.conv(f"{name}.conv2", conv1.outputs, channels, *normed, "dropout", "weight")
    shortcut = [plan.conv(f"{name}.shortcut", inputs, channels, "weight", kernel=1, stride=stride)] if preact else []
    return [*preact, plan.joined(conv1, conv2), conv2, *shortcut]


def branches(plans: Sequence[LayerPlan]) -> list[list[str]]:
    """The two convolutions of each block."""
    blocks = [plan.name.partition(".")[0] for plan in plans if plan.name.endswith(".conv1")]
    return [[f"{block}.conv1", f"{block}.conv2"] for block in blocks]


def wire(config: ResNet, layers: dict[str, Module]) -> Module:
    from torch import nn

    from normexp.models.layer import GlobalAveragePool, Residual

    modules: OrderedDict[str, Module] = OrderedDict()
    for block, names in groupby(layers, key=lambda name: name.partition(".")[0]):
        if block == "head":
            modules["pool"] = GlobalAveragePool()
        parts = {name.partition(".")[2]: layers[name] for name in names}
        modules[block] = layers[block] if block in layers else Residual(**parts)
    return nn.Sequential(modules)


ENTRY = Model(
    name="resnet",
    title="residual network for CIFAR",
    config=ResNet,
    layers=layers,
    wire=wire,
    branches=branches,
)
