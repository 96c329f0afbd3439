"""Registry entry of a model, and plans of a network's layers: names, shapes and parts, without torch.

Checks, tables and the network itself (models/build.py) use the same plans, so they can't disagree.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, Literal

from normexp.config import Config, ConfigError, ModelConfig
from normexp.config.schema import ActivationName
from normexp.norms import NORMS, Site
from normexp.norms.base import Module
from normexp.weights import WEIGHTS, Filters

Part = Literal["weight", "position", "norm", "noise", "activation", "dropout", "softmax"]
Shape = tuple[int, ...]

LAYER: dict[str, tuple[Part, ...]] = {
    "pre": ("weight", "norm", "activation"),
    "post": ("weight", "activation", "norm"),
    "input": ("norm", "weight", "activation"),
}
"""Parts of a layer by `norm.position`."""


@dataclass(frozen=True)
class Recurrence:
    """Settings of a part of a recurrent layer.

    hidden: number of units. gates: equal parts of the output's channels. steps: time steps at which the norm is called, one after
    the other; 1 if it sees all steps of a sequence at once, each as a sample.
    """

    hidden: int
    gates: int
    steps: int


@dataclass(frozen=True)
class LayerPlan:
    """A linear layer or convolution with its norm, activation and dropout, in order.

    inputs, outputs: shape of one sample, (C, H, W) or (F,), or (D, T) for T tokens or time steps of D channels. "weight" can
    change it, and "position", which adds the learned positions of the tokens, after a class token if `class_token` is set.
    kernel: of a convolution, padded so that stride 1 keeps the size; the side of a patch, if the layer makes tokens of an image;
    None for a linear layer. possible: the parts that the model requested, including those that the config excludes. heads: of
    attention, if the layer sees each head as a sample of its own. activation: the layer's, if it is not the config's.
    recurrence: of the parts of a recurrent layer.
    after_activation: whether its inputs are, or in networks of other models may be, the output of an activation.
    observed: whether the layer computes nothing for the network, but shows probes what it computes: the values of a gate at a
    time step, or the weights of attention, of shape (queries, keys) for each head.
    """

    name: str
    parts: tuple[Part, ...]
    inputs: Shape
    outputs: Shape
    kernel: int | None = None
    stride: int = 1
    bias: bool = True
    possible: tuple[Part, ...] = ()
    class_token: bool = False
    heads: int = 1
    after_activation: bool = True
    activation: ActivationName | None = None
    recurrence: Recurrence | None = None
    observed: bool = False

    def site(self, part: Part) -> Site | None:
        """The input of this layer's norm or activation; None if it has none."""
        if part not in self.parts:
            return None
        if self.recurrence is not None:
            channels, steps = self.outputs
            gates, in_turn = self.recurrence.gates, self.recurrence.steps
            shape, repeats = (channels // gates,), steps // in_turn
            return Site(self.name, shape, activated=False, repeats=repeats, gates=gates, steps=in_turn)
        before_weight = "weight" in self.parts and self.parts.index(part) < self.parts.index("weight")
        return Site(self.name, self.inputs if before_weight else self.outputs, _activated(self.possible), self.heads)

    @property
    def weights(self) -> int:
        """Number of values of the linear layer's or convolution's weight."""
        return self.inputs[0] * self.outputs[0] * (self.kernel or 1) ** 2 if "weight" in self.parts else 0

    @property
    def parameters(self) -> int:
        """Number of parameters of the linear layer or convolution, including the bias, and of positions and class token."""
        positions = math.prod(self.outputs) if "position" in self.parts else 0
        positions += self.outputs[0] * self.class_token
        return positions + (self.weights + self.outputs[0] * self.bias if "weight" in self.parts else 0)

    @property
    def multiplications(self) -> int:
        """Multiplications of the linear layer or convolution for one sample."""
        if "weight" not in self.parts:
            return 0
        return self.inputs[0] * math.prod(self.outputs) * (self.kernel or 1) ** 2


class Planner:
    """Plans the layers of a model, with norm, position, noise and dropout as in the config.

    A model requests all parts that a layer can have; those that the config excludes, for all layers or for this one, are left
    out. Noise is added after the norm; models don't request it. hidden: parts of a hidden layer. normed_activation: norm and
    activation, in the order of `norm.position`. qk, per_step: `norm.qk` and `norm.per_step`. joins_samples: whether the norm's
    statistics are of the batch. Raises ConfigError for networks that are too large to train.
    """

    MAX_LAYERS = 3000
    MAX_PARAMETERS = 10**9

    def __init__(self, config: Config) -> None:
        self.position, self.qk = config.norm.position, config.norm.qk
        self.per_step = getattr(config.norm, "per_step", False)
        self.activation = config.activation
        self.joins_samples = NORMS[config.norm.name].uses_batch
        self.hidden: tuple[Part, ...] = (*LAYER[self.position], "dropout")
        self.normed_activation = tuple(part for part in LAYER[self.position] if part != "weight")
        self._config = config
        self._norm = NORMS[config.norm.name]
        self._layers = self._parameters = 0

    def conv(
        self, name: str, inputs: Shape, channels: int, *parts: Part, kernel: int = 3, stride: int = 1
    ) -> LayerPlan:
        """A convolution: (C, H, W) -> (channels, ceil(H / stride), ceil(W / stride)). Raises ConfigError for vectors."""
        self.require_images(inputs)
        size = tuple(math.ceil(n / stride) for n in inputs[1:])
        return self._finish(LayerPlan(name, parts, inputs, (channels, *size), kernel=kernel, stride=stride))

    def linear(self, name: str, inputs: Shape, features: int, *parts: Part) -> LayerPlan:
        """A linear layer: flattened inputs -> (features,)."""
        return self._finish(LayerPlan(name, parts, (math.prod(inputs),), (features,)))

    def require_images(self, inputs: Shape) -> None:
        """Raise ConfigError for vectors."""
        if len(inputs) == 1:
            raise ConfigError(
                f"model={self._config.model.name} needs images, but data={self._config.data.name} has vectors of {inputs[0]} "
                "values. Use model=mlp, or model=rnn with model.input=pixels."
            )

    def patches(self, name: str, inputs: Shape, channels: int, *parts: Part, side: int, class_token: bool) -> LayerPlan:
        """A linear layer for each patch of an image: (C, H, W) -> (channels, H W / side^2), or one more with the class token."""
        outputs = channels, inputs[1] // side * (inputs[2] // side) + class_token
        plan = LayerPlan(name, parts, inputs, outputs, kernel=side, stride=side, class_token=class_token)
        return self._finish(plan)

    def tokens(
        self, name: str, inputs: Shape, channels: int, *parts: Part, after_activation: bool = False, **fields: Any
    ) -> LayerPlan:
        """A linear layer for each token: (D, T) -> (channels, T). fields: others of LayerPlan."""
        outputs = channels, inputs[1]
        return self._finish(LayerPlan(name, parts, inputs, outputs, after_activation=after_activation, **fields))

    def parts(self, name: str, inputs: Shape, *parts: Part, **fields: Any) -> LayerPlan:
        """A layer without a weight, such as norm and activation after an addition. fields: others of LayerPlan."""
        return self._finish(LayerPlan(name, parts, inputs, inputs, bias=False, **fields))

    def joined(self, plan: LayerPlan, after: LayerPlan) -> LayerPlan:
        """`plan`, without its bias if `after`, the only layer that reads its output, starts with a norm that cancels it."""
        cancelled = (*plan.parts[-1:], *after.parts[:1]) == ("weight", "norm") and self._norm.cancels_bias
        return replace(plan, bias=plan.bias and not cancelled)

    def _finish(self, plan: LayerPlan) -> LayerPlan:
        """Apply the config to the parts, and remove a bias that the norm right after it cancels."""
        config, parts = self._config, list(plan.parts)
        if "norm" in parts:
            parts.insert(parts.index("norm") + 1, "noise")
            if config.dropout_at == "norm" and "dropout" in parts:
                parts.remove("dropout")
                parts.insert(parts.index("norm"), "dropout")
        included: dict[Part, bool] = {
            "norm": config.norm.name != "none" and matches(plan.name, config.norm.layers),
            "noise": config.noise > 0,
            "dropout": config.dropout > 0 and matches(plan.name, config.dropout_layers),
        }
        parts = [part for part in parts if included.get(part, True)]
        if self._norm.activates and _activated(parts):
            parts.remove("activation")
        cancelled = ("weight", "norm") in pairwise(parts) and self._norm.cancels_bias
        self._layers += 1
        self._parameters += plan.parameters
        if self._layers > self.MAX_LAYERS:
            raise ConfigError(f"The network would have more than {self.MAX_LAYERS:,} layers. Use fewer.")
        if self._parameters > self.MAX_PARAMETERS:
            raise ConfigError(
                f"The layers up to {plan.name} would have more than {self.MAX_PARAMETERS:,} parameters. Use a smaller network."
            )
        return replace(plan, parts=tuple(parts), possible=plan.parts, bias=plan.bias and not cancelled)


def _activated(parts: Iterable[Part]) -> bool:
    """Whether the norm and the activation are next to each other; dropout and noise may be in between."""
    order = [part for part in parts if part in ("weight", "norm", "activation")]
    return any({"norm", "activation"} == set(pair) for pair in pairwise(order))


def matches(layer: str, patterns: Iterable[str]) -> bool:
    """Whether a layer's name matches one of the patterns, such as block1.*."""
    return any(fnmatchcase(layer, pattern) for pattern in patterns)


def normalized_weights(config: Config, plans: Sequence[LayerPlan]) -> dict[str, Filters]:
    """The linear layers and convolutions whose weights `weight` normalizes, by name: all, or all but the last."""
    weighted = [plan for plan in plans if "weight" in plan.parts]
    entry, filters = WEIGHTS[config.weight.name], {}
    for plan in weighted if entry.head else weighted[:-1]:
        # the first one reads the data
        after = "identity" if plan is weighted[0] or not plan.after_activation else config.activation
        filters[plan.name] = Filters(plan.name, plan.outputs[0], plan.inputs[0] * (plan.kernel or 1) ** 2, after)
    return filters if entry.name != "none" else {}


@dataclass(frozen=True)
class Model:
    """An architecture that `model` can choose. `Any` stands for the entry's own config class.

    layers: plans the layers in the order in which they compute, from the shape of an image and the number of classes. Raises
    ConfigError if the config's values don't fit together.
    wire: connects the layers, given by name, to a network. Imports torch inside, so that checks stay fast.
    branches: names of the layers of each residual branch, in order; a branch ends before the addition.
    averages: whether the head reads averages over all positions of the last hidden layer.
    attention: whether it has queries and keys, which `norm.qk` normalizes.
    """

    name: str
    title: str
    config: type[ModelConfig]
    layers: Callable[[Any, Planner, Shape, int], list[LayerPlan]]
    wire: Callable[[Any, dict[str, Any]], Module]
    branches: Callable[[Sequence[LayerPlan]], list[list[str]]] = lambda plans: []
    averages: bool = True
    attention: bool = False
