"""Plans of a network's layers: names, shapes and parts, without torch.

Checks and tables use them, and the network is built from the same plans (models/build.py), so that they can't disagree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Literal

from normexp.config import Config, ConfigError
from normexp.norms import NORMS, Site

Part = Literal["weight", "norm", "noise", "activation", "dropout"]
Shape = tuple[int, ...]

LAYER: dict[str, tuple[Part, ...]] = {
    "pre": ("weight", "norm", "activation"),
    "post": ("weight", "activation", "norm"),
    "input": ("norm", "weight", "activation"),
}
"""Parts of a layer by `norm.position`."""


@dataclass(frozen=True)
class LayerPlan:
    """A linear layer or convolution with its norm, activation and dropout, in order.

    inputs, outputs: shape of one sample, (C, H, W) or (F,), which only "weight" can change. kernel: of a convolution, padded so
    that stride 1 keeps the size; None for a linear layer.
    possible: the parts that the model asked for, including those that the config leaves out.
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
        """The input of this layer's norm. None without one."""
        if "norm" not in self.parts:
            return None
        before_weight = "weight" in self.parts and self.parts.index("norm") < self.parts.index("weight")
        return Site(self.name, self.inputs if before_weight else self.outputs)

    @property
    def parameters(self) -> int:
        """Number of parameters of the linear layer or convolution, including the bias."""
        if "weight" not in self.parts:
            return 0
        return self.inputs[0] * self.outputs[0] * (self.kernel or 1) ** 2 + self.outputs[0] * self.bias

    @property
    def multiplications(self) -> int:
        """Multiplications of the linear layer or convolution for one sample."""
        if "weight" not in self.parts:
            return 0
        return self.inputs[0] * math.prod(self.outputs) * (self.kernel or 1) ** 2


class Planner:
    """Plans the layers of all models, and applies what the config says about norm, position, noise and dropout.

    A model asks for all parts that a layer can have. Those that the config excludes, for all layers or for this one, are left
    out. Noise follows the norm's place; models don't ask for it. hidden: parts of a hidden layer. normed_activation: norm and
    activation, in the order of `norm.position`. Raises ConfigError for networks that are too large to train.
    """

    MAX_LAYERS = 3000
    MAX_PARAMETERS = 10**9

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
        """A convolution: (C, H, W) -> (channels, ceil(H / stride), ceil(W / stride))."""
        size = tuple(math.ceil(n / stride) for n in inputs[1:])
        return self._finish(LayerPlan(name, parts, inputs, (channels, *size), kernel=kernel, stride=stride))

    def linear(self, name: str, inputs: Shape, features: int, *parts: Part) -> LayerPlan:
        """A linear layer: flattened inputs -> (features,)."""
        return self._finish(LayerPlan(name, parts, (math.prod(inputs),), (features,)))

    def parts(self, name: str, inputs: Shape, *parts: Part) -> LayerPlan:
        """A layer without a weight: norm and activation after an addition, say."""
        return self._finish(LayerPlan(name, parts, inputs, inputs, bias=False))

    def joined(self, plan: LayerPlan, after: LayerPlan) -> LayerPlan:
        """`plan`, without its bias if `after`, the only layer that reads its output, starts with a norm that cancels it."""
        cancelled = (*plan.parts[-1:], *after.parts[:1]) == ("weight", "norm") and self._cancels_bias
        return replace(plan, bias=plan.bias and not cancelled)

    def _finish(self, plan: LayerPlan) -> LayerPlan:
        parts = tuple(part for part in self._arranged(plan.parts) if self._has(part, plan.name))
        # The norm would subtract the bias right after it is added.
        cancelled = ("weight", "norm") in pairwise(parts) and self._cancels_bias
        self._layers += 1
        self._parameters += plan.parameters
        if self._layers > self.MAX_LAYERS:
            raise ConfigError(f"The network would have more than {self.MAX_LAYERS:,} layers: take fewer.")
        if self._parameters > self.MAX_PARAMETERS:
            raise ConfigError(
                f"The network would have more than {self.MAX_PARAMETERS:,} parameters in its layers up to {plan.name}: "
                "make it smaller."
            )
        return replace(plan, parts=parts, possible=plan.parts, bias=plan.bias and not cancelled)

    def _arranged(self, parts: tuple[Part, ...]) -> list[Part]:
        """Insert noise after the norm, and move dropout to the place that `dropout_at` names."""
        arranged = list(parts)
        if "norm" in arranged:
            arranged.insert(arranged.index("norm") + 1, "noise")
            if self._config.dropout_at == "norm" and "dropout" in arranged:
                arranged.remove("dropout")
                arranged.insert(arranged.index("norm"), "dropout")
        return arranged

    def _has(self, part: Part, layer: str) -> bool:
        config = self._config
        match part:
            case "norm":
                return config.norm.name != "none" and matches(layer, config.norm.layers)
            case "noise":
                return config.noise > 0
            case "dropout":
                return config.dropout > 0 and matches(layer, config.dropout_layers)
        return True


def matches(layer: str, patterns: Iterable[str]) -> bool:
    """Whether a layer's name matches one of the patterns, such as block1.*."""
    return any(fnmatchcase(layer, pattern) for pattern in patterns)
