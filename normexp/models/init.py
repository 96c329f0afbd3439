"""Weight initialization. Imports torch late, since checks and completion only need the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from normexp.config import Config, InitConfig, number
from normexp.models.activations import find_activation
from normexp.models.base import LayerPlan
from normexp.streams import stream_seed

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn


@dataclass(frozen=True, kw_only=True)
class XavierInit(InitConfig):
    gain: float = number(above=0, default=1.0)


@dataclass(frozen=True, kw_only=True)
class NormalInit(InitConfig):
    std: float = number(minimum=0)


INITS: dict[str, type] = {
    **dict.fromkeys(("default", "kaiming", "orthogonal"), InitConfig),
    "xavier": XavierInit,
    "normal": NormalInit,
}


POSITION_STD = 0.02
"""Of positions and class token with every init (Dosovitskiy et al. 2021, in the code published with it)."""


def initialize(layers: Mapping[str, nn.Module], config: Config) -> None:
    """Initialize the weights of all layers. Biases become 0, except with `default`, which is torch's own scheme. Each gate of a
    recurrent layer is a matrix of its own.

    Each weight and each bias has its own random stream, derived from the seed and the layer's name. Networks that differ in norm,
    dropout, biases or additional layers thus start from the same weights. Drawn on the CPU, whatever the device.
    """
    import torch
    from torch import nn

    for name, layer in layers.items():
        for part, values in getattr(layer, "position", nn.Module()).named_parameters():
            generator = torch.Generator().manual_seed(stream_seed(config.seed, part, name))
            nn.init.normal_(values, std=POSITION_STD, generator=generator)
        module = getattr(layer, "weight", None)
        if not isinstance(module, nn.Linear | nn.Conv2d):
            continue
        plan: LayerPlan | None = getattr(layer, "plan", None)
        recurrence = plan.recurrence if plan else None
        # 1 / sqrt(fan_in), but torch's own scheme for recurrent layers has the same bound for all weights
        fan_in = recurrence.hidden if recurrence and config.init.name == "default" else module.weight[0].numel()
        bound = fan_in**-0.5
        activation = (plan and plan.activation) or config.activation
        generator = torch.Generator().manual_seed(stream_seed(config.seed, "weights", name))
        for weight in module.weight.detach().chunk(recurrence.gates if recurrence else 1):
            _draw(weight, bound, config.init, activation, generator)
        if module.bias is not None and config.init.name == "default":
            generator = torch.Generator().manual_seed(stream_seed(config.seed, "biases", name))
            nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        elif module.bias is not None:
            nn.init.zeros_(module.bias)


def _draw(weight: Tensor, bound: float, init: InitConfig, activation: str, generator: Generator) -> None:
    from torch.nn import init as draw

    match init.name:
        case "default":  # as torch's Linear and Conv2d
            draw.uniform_(weight, -bound, bound, generator=generator)
        case "kaiming":  # std = gain / sqrt(fan_in): He et al. 2015, eq. 10
            draw.normal_(weight, std=find_activation(activation).gain * bound, generator=generator)
        case "xavier":
            assert isinstance(init, XavierInit)
            draw.xavier_normal_(weight, gain=init.gain, generator=generator)
        case "orthogonal":
            draw.orthogonal_(weight, generator=generator)
        case "normal":
            assert isinstance(init, NormalInit)
            draw.normal_(weight, std=init.std, generator=generator)
        case _:
            raise AssertionError(init.name)
