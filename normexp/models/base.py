"""Registry entry of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from normexp.config import ModelConfig
from normexp.models.plan import LayerPlan, Planner, Shape

if TYPE_CHECKING:
    from torch import nn

    from normexp.models.layer import Layer


@dataclass(frozen=True)
class Model:
    """An architecture that `model` can choose. `Any` stands for the entry's own config class.

    layers: plans the layers in the order in which they compute, from the shape of an image and the number of classes. Raises
    ConfigError if the config's values don't fit together.
    wire: connects the built layers, given by name, to a network. Imports torch inside, so that checks stay fast.
    """

    name: str
    title: str
    config: type[ModelConfig]
    layers: Callable[[Any, Planner, Shape, int], list[LayerPlan]]
    wire: Callable[[Any, dict[str, Layer]], nn.Module]
