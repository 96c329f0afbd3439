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
after the last block (`final`), and none after its first convolution. Its norms precede the weights anyway, so `input` is
refused. Dropout is only inside the blocks (Zagoruyko and Komodakis 2016, section 2.4).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from normexp.config import ConfigError, ModelConfig, number
from normexp.models.base import Model
from normexp.models.plan import LAYER, LayerPlan, Planner, Shape

if TYPE_CHECKING:
    from torch import nn

    from normexp.models.layer import Layer


@dataclass(frozen=True, kw_only=True)
class ResNet(ModelConfig):
    depth: int = number(minimum=8)
    width: int = number(minimum=1)
    block: Literal["original", "preact"]


def layers(config: ResNet, plan: Planner, image: Shape, classes: int) -> list[LayerPlan]:
    blocks, left = divmod(config.depth - 2, 6)
    if left:
        near = f"{6 * blocks + 2} or {6 * blocks + 8}"
        raise ConfigError(f"model.depth={config.depth}: a resnet's depth is 6n+2; {near} works.")
    preact = config.block == "preact"
    if preact and plan.position == "input":
        raise ConfigError(
            "norm.position=input: with model.block=preact the norms are in front of the weights in any case; norm.position=pre "
            "or post works, or model.block=original."
        )
    normed = plan.normed_activation
    plans = [plan.conv("conv1", image, config.width, *(("weight",) if preact else LAYER[plan.position]))]
    inputs = plans[0].outputs
    for i in range(3 * blocks):
        channels = config.width * 2 ** (i // blocks)
        stride = 2 if i in (blocks, 2 * blocks) else 1
        block = _preact_block if preact else _original_block
        plans += block(plan, f"block{i + 1}", inputs, channels, stride)
        inputs = plans[-1].outputs
    if preact:
        plans.append(plan.parts("final", inputs, *normed))
    return [*plans, plan.linear("head", inputs[:1], classes, "weight")]


def _original_block(plan: Planner, name: str, inputs: Shape, channels: int, stride: int) -> list[LayerPlan]:
    # The shortcut is added before the second activation. With `post`, the norm comes after that too.
    parts = LAYER[plan.position]
    split = parts.index("activation")
    conv1 = plan.conv(f"{name}.conv1", inputs, channels, *plan.hidden, stride=stride)
    conv2 = plan.conv(f"{name}.conv2", conv1.outputs, channels, *parts[:split])
    return [
        conv1,
        conv2,
        *_shortcut(plan, name, inputs, channels, stride),
        plan.parts(f"{name}.out", conv2.outputs, *parts[split:]),
    ]


def _preact_block(plan: Planner, name: str, inputs: Shape, channels: int, stride: int) -> list[LayerPlan]:
    normed, changes_shape = plan.normed_activation, stride > 1
    preact = [plan.parts(f"{name}.preact", inputs, *normed)] if changes_shape else []
    conv1 = plan.conv(f"{name}.conv1", inputs, channels, *(() if preact else normed), "weight", stride=stride)
    conv2 = plan.conv(f"{name}.conv2", conv1.outputs, channels, *normed, "dropout", "weight")
    shortcut = [plan.conv(f"{name}.shortcut", inputs, channels, "weight", kernel=1, stride=stride)] if preact else []
    return [*preact, plan.joined(conv1, conv2), conv2, *shortcut]


def _shortcut(plan: Planner, name: str, inputs: Shape, channels: int, stride: int) -> list[LayerPlan]:
    """Empty if the block keeps its shape: the shortcut is the identity."""
    if stride == 1:
        return []
    parts = (part for part in LAYER[plan.position] if part != "activation")
    return [plan.conv(f"{name}.shortcut", inputs, channels, *parts, kernel=1, stride=stride)]


def wire(config: ResNet, layers: dict[str, Layer]) -> nn.Module:
    from torch import nn

    from normexp.models.layer import GlobalAveragePool, Residual

    blocks: dict[str, dict[str, Layer]] = {}
    for name, layer in layers.items():
        block, _, part = name.partition(".")
        if part:
            blocks.setdefault(block, {})[part] = layer
    modules: OrderedDict[str, nn.Module] = OrderedDict(conv1=layers["conv1"])
    modules.update((name, Residual(**parts)) for name, parts in blocks.items())
    if "final" in layers:
        modules["final"] = layers["final"]
    modules.update(pool=GlobalAveragePool(), head=layers["head"])
    return nn.Sequential(modules)


ENTRY = Model(name="resnet", title="residual network for CIFAR", config=ResNet, layers=layers, wire=wire)
