"""Weight initialization. Imports torch late, since checks and completion only need the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from normexp.config import Config, InitConfig, number
from normexp.streams import stream_seed

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn


@dataclass(frozen=True, kw_only=True)
class NormalInit(InitConfig):
    std: float = number(minimum=0)


def initialize(layers: Mapping[str, nn.Module], config: Config) -> None:
    """Initialize the weights of all layers. Biases become 0, except with `default`, which is torch's own scheme.

    Each weight and each bias has a random stream of its own, derived from the seed and the layer's name. Networks that differ in
    norm, dropout, biases or further layers thus start from the same weights. Drawn on the CPU for every device.
    """
    import torch
    from torch import nn

    _, draw = INITS[config.init.name]
    for name, layer in layers.items():
        module = getattr(layer, "weight", None)
        if not isinstance(module, nn.Linear | nn.Conv2d):
            continue
        draw(module.weight, config, torch.Generator().manual_seed(stream_seed(config.seed, "weights", name)))
        if module.bias is None:
            continue
        if config.init.name == "default":
            generator = torch.Generator().manual_seed(stream_seed(config.seed, "biases", name))
            bound = _bound(module.weight)
            nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        else:
            nn.init.zeros_(module.bias)


def _bound(weight: Tensor) -> float:
    """1 / sqrt(fan_in). torch's Linear and Conv2d draw weights and biases uniformly within this bound."""
    return float(weight[0].numel() ** -0.5)


def _default(weight: Tensor, config: Config, generator: Generator) -> None:
    from torch.nn import init

    init.uniform_(weight, -_bound(weight), _bound(weight), generator=generator)


def _kaiming(weight: Tensor, config: Config, generator: Generator) -> None:
    """std = gain / sqrt(fan_in), with torch's gain for the activation (He et al. 2015, eq. 10).

    torch has no gain for gelu and silu, which use that of relu.
    """
    from torch.nn import init

    nonlinearity: Any = "relu" if config.activation in ("gelu", "silu") else config.activation
    init.normal_(weight, std=init.calculate_gain(nonlinearity) * _bound(weight), generator=generator)


def _xavier(weight: Tensor, config: Config, generator: Generator) -> None:
    from torch.nn import init

    init.xavier_normal_(weight, generator=generator)


def _orthogonal(weight: Tensor, config: Config, generator: Generator) -> None:
    from torch.nn import init

    init.orthogonal_(weight, generator=generator)


def _normal(weight: Tensor, config: Config, generator: Generator) -> None:
    from torch.nn import init

    assert isinstance(config.init, NormalInit)
    init.normal_(weight, std=config.init.std, generator=generator)


INITS: dict[str, tuple[type[InitConfig], Callable[[Tensor, Config, Generator], None]]] = {
    "default": (InitConfig, _default),
    "kaiming": (InitConfig, _kaiming),
    "xavier": (InitConfig, _xavier),
    "orthogonal": (InitConfig, _orthogonal),
    "normal": (NormalInit, _normal),
}
