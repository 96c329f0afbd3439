"""What layers a network has, worked out without torch.

Checks, `--help` and tables need the names and shapes of all layers, and the network itself is built from the same plans
(models/layer.py), so that they can't disagree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from normexp.config import Config, ConfigError, ModelConfig
from normexp.norms import NORMS, Site

if TYPE_CHECKING:
    from torch import nn

    from normexp.models.layer import Layer

Part = Literal["weight", "norm", "noise", "activation", "dropout"]
Shape = tuple[int, ...]

LAYER: dict[str, tuple[Part, ...]] = {
    "pre": ("weight", "norm", "activation"),
    "post": ("weight", "activation", "norm"),
    "input": ("norm", "weight", "activation"),
}
"""A layer's parts by `norm.position`."""


@dataclass(frozen=True)
class LayerPlan:
    """One layer: a linear map or convolution with the norm, activation and dropout that belong to it, in their order.

    inputs, outputs: the shape of one sample, (C, H, W) or (F,). kernel: of a convolution, padded so that stride 1 keeps
    the size; None for a linear layer. A layer without "weight" among its parts leaves the shape as it is.
    possible: the parts that its model names, also those that the config does without.
    """

    name: str
    parts: tuple[Part, ...]
    inputs: Shape
    outputs: Shape
    kernel: int | None = None
    stride: int = 1
    bias: bool = True
    possible: tuple[Part, ...] = ()

    @property
    def norm_site(self) -> Site | None:
        """Where this layer's norm sits; None without one."""
        if "norm" not in self.parts:
            return None
        before_weight = "weight" in self.parts and self.parts.index("norm") < self.parts.index("weight")
        return Site(self.name, self.inputs if before_weight else self.outputs)

    @property
    def parameters(self) -> int:
        """Of the linear map or convolution, bias included."""
        if "weight" not in self.parts:
            return 0
        return self.inputs[0] * self.outputs[0] * (self.kernel or 1) ** 2 + self.outputs[0] * self.bias

    @property
    def multiplications(self) -> int:
        """Of the linear map or convolution, for one sample."""
        if "weight" not in self.parts:
            return 0
        return self.inputs[0] * math.prod(self.outputs) * (self.kernel or 1) ** 2


class Planner:
    """Makes a config's layers. What they have in common (norm, its position, noise, dropout) is decided here, once.

    A model names all the parts that a layer may have; those that the config does without, or in this layer without, are left
    out. Noise, which no model names, is right behind where the norm sits. hidden: the parts of a layer inside the network.
    normed_activation: norm and activation in the order of the config's position. Raises ConfigError for a network that nobody
    could train: every model's layers come by here, one by one.
    """

    MOST_LAYERS = 3000
    MOST_PARAMETERS = 10**9

    def __init__(self, config: Config) -> None:
        self.position = config.norm.position
        self.hidden: tuple[Part, ...] = (*LAYER[self.position], "dropout")
        self.normed_activation = tuple(part for part in LAYER[self.position] if part != "weight")
        self._config = config
        self._cancels_bias = NORMS[config.norm.name].cancels_bias
        self._layers = self._parameters = 0

    def conv(
        self,
        name: str,
        inputs: Shape,
        channels: int,
        *parts: Part,
        kernel: int = 3,
        stride: int = 1,
    ) -> LayerPlan:
        """A convolution from (C, H, W) to (channels, ceil(H / stride), ceil(W / stride))."""
        size = tuple(math.ceil(n / stride) for n in inputs[1:])
        return self._finish(LayerPlan(name, parts, inputs, (channels, *size), kernel=kernel, stride=stride))

    def linear(self, name: str, inputs: Shape, features: int, *parts: Part) -> LayerPlan:
        """A linear map from all values of a sample to (features,)."""
        return self._finish(LayerPlan(name, parts, (math.prod(inputs),), (features,)))

    def parts(self, name: str, inputs: Shape, *parts: Part) -> LayerPlan:
        """A norm and an activation without a weight of their own, as behind an addition."""
        return self._finish(LayerPlan(name, parts, inputs, inputs, bias=False))

    def joined(self, plan: LayerPlan, after: LayerPlan) -> LayerPlan:
        """The first of two layers, without a bias that the second, which alone reads what it hands on, begins by subtracting."""
        cancelled = (*plan.parts[-1:], *after.parts[:1]) == ("weight", "norm") and self._cancels_bias
        return replace(plan, bias=plan.bias and not cancelled)

    def _finish(self, plan: LayerPlan) -> LayerPlan:
        parts = tuple(part for part in self._arranged(plan.parts) if self._has(part, plan.name))
        # A bias that the norm right behind it subtracts again would be a parameter without effect.
        cancelled = ("weight", "norm") in pairwise(parts) and self._cancels_bias
        self._layers += 1
        self._parameters += plan.parameters
        if self._layers > self.MOST_LAYERS:
            raise ConfigError(f"The network would have more than {self.MOST_LAYERS:,} layers: take fewer.")
        if self._parameters > self.MOST_PARAMETERS:
            raise ConfigError(
                f"The network would have more than {self.MOST_PARAMETERS:,} parameters in its layers up to {plan.name}: "
                "make it smaller."
            )
        return replace(plan, parts=parts, possible=plan.parts, bias=plan.bias and not cancelled)

    def _arranged(self, parts: tuple[Part, ...]) -> list[Part]:
        """With noise behind the norm, and dropout where `dropout_at` wants it."""
        found = list(parts)
        if "norm" in found:
            found.insert(found.index("norm") + 1, "noise")
            if self._config.dropout_at == "norm" and "dropout" in found:
                found.remove("dropout")
                found.insert(found.index("norm"), "dropout")
        return found

    def _has(self, part: Part, layer: str) -> bool:
        config = self._config
        match part:
            case "norm":
                return config.norm.name != "none" and fits(layer, config.norm.layers)
            case "noise":
                return config.noise > 0
            case "dropout":
                return config.dropout > 0 and fits(layer, config.dropout_layers)
        return True


def fits(layer: str, patterns: Iterable[str]) -> bool:
    """Whether a layer is one of those that patterns such as block1.* name."""
    return any(fnmatchcase(layer, pattern) for pattern in patterns)


@dataclass(frozen=True)
class Model:
    """An entry of the table of models. `Any` stands for the entry's own config class.

    layers: its plans, in the order in which they compute, from the shape of an image and the number of classes; raises
    ConfigError for values that don't fit together. wire: the network, from the finished layers by name. torch is
    imported inside it, so that checks stay quick.
    """

    name: str
    title: str
    config: type[ModelConfig]
    layers: Callable[[Any, Planner, Shape, int], list[LayerPlan]]
    wire: Callable[[Any, dict[str, Layer]], nn.Module]
