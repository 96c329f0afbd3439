"""Weight initialization. Imports torch late, since checks and completion only need the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from normexp.config import Config, InitConfig, number
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


GAIN_OF = {"gelu": "relu", "silu": "relu", "tlu": "relu", "identity": "linear"}
"""Activations whose gain torch doesn't know, and the one whose gain they use."""


POSITION_STD = 0.02
"""Of positions and class token with every init (Dosovitskiy et al. 2021, in the code published with it)."""


def initialize(layers: Mapping[str, nn.Module], config: Config) -> None:
    """Initialize the weights of all layers. Biases become 0, except with `default`, which is torch's own scheme.

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
        bound = module.weight[0].numel() ** -0.5  # 1 / sqrt(fan_in)
        generator = torch.Generator().manual_seed(stream_seed(config.seed, "weights", name))
        _draw(module.weight, bound, config, generator)
        if module.bias is not None and config.init.name == "default":
            generator = torch.Generator().manual_seed(stream_seed(config.seed, "biases", name))
            nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        elif module.bias is not None:
            nn.init.zeros_(module.bias)


def _draw(weight: Tensor, bound: float, config: Config, generator: Generator) -> None:
    from torch.nn import init

    match config.init.name:
        case "default":  # as torch's Linear and Conv2d
            init.uniform_(weight, -bound, bound, generator=generator)
        case "kaiming":  # std = gain / sqrt(fan_in): He et al. 2015, eq. 10
            nonlinearity: Any = GAIN_OF.get(config.activation, config.activation)
            init.normal_(weight, std=init.calculate_gain(nonlinearity) * bound, generator=generator)
        case "xavier":
            assert isinstance(config.init, XavierInit)
            init.xavier_normal_(weight, gain=config.init.gain, generator=generator)
        case "orthogonal":
            init.orthogonal_(weight, generator=generator)
        case "normal":
            assert isinstance(config.init, NormalInit)
            init.normal_(weight, std=config.init.std, generator=generator)
        case _:
            raise AssertionError(config.init.name)
