"""Registry entry of a normalization of weights. Module is torch's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from normexp.config import WeightConfig

if TYPE_CHECKING:
    from torch.nn import Module
else:  # torch is imported late
    Module = Any


@dataclass(frozen=True)
class Filters:
    """The weight of a linear layer or convolution: `count` filters, one per output channel, of `fan_in` values each.

    after: the activation that computes the layer's inputs; `identity` for the network's own inputs.
    """

    layer: str
    count: int
    fan_in: int
    after: str


@dataclass(frozen=True)
class Weight:
    """A normalization of weights that `weight` can choose. `Any` stands for the entry's own config class.

    apply: parametrizes a linear layer or convolution, so that its `weight` is computed from the drawn one whenever it is read.
    Imports torch inside, so that checks stay fast.
    problem: why it can't be used on these filters, as a clause, and what to use instead, as a sentence. None if it can.
    head: whether it also normalizes the last layer, which computes the logits.
    cancels_scale: whether a factor on the drawn weight has no effect.
    parameters: number of parameters in addition to the drawn weight.
    """

    name: str
    title: str
    apply: Callable[[Any, Filters, Module], None]
    config: type[WeightConfig] = WeightConfig
    problem: Callable[[Any, Filters], tuple[str, str] | None] = lambda config, filters: None
    head: bool = False
    cancels_scale: bool = False
    parameters: Callable[[Filters], int] = lambda filters: 0


def no_variance(config: object, filters: Filters) -> tuple[str, str] | None:
    """The problem of filters with a single value, which minus its mean is 0."""
    if filters.fan_in > 1:
        return None
    return "each filter has a single value and thus no variance", "Use a wider layer before it."
