"""The weights that a network starts from. torch is imported late: checks and completion read the table alone."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from normexp.config import Config, InitConfig, number

if TYPE_CHECKING:
    from torch import Tensor

    from normexp.models.layer import Layer


@dataclass(frozen=True, kw_only=True)
class NormalInit(InitConfig):
    std: float = number(least=0)


def initialise(layers: Mapping[str, Layer], config: Config) -> None:
    """Draw the weights of every layer as `init` says; biases become 0, except with `default`, which is torch's own.

    Each layer draws from a stream of its own, made of the seed and its name, so that nets that differ in norm, dropout
    or a bias start from the same weights.
    """
    import torch
    from torch import nn

    _, draw = INITS[config.init.name]
    for name, layer in layers.items():
        weight = getattr(layer, "weight", None)
        if not isinstance(weight, nn.Linear | nn.Conv2d):
            continue
        torch.manual_seed(zlib.crc32(name.encode()) << 32 ^ config.seed)
        if draw is None:
            weight.reset_parameters()
        else:
            draw(weight.weight, config)
            if weight.bias is not None:
                nn.init.zeros_(weight.bias)


def _kaiming(weight: Tensor, config: Config) -> None:
    """std = gain / sqrt(fan in), with the gain of the activation (He et al. 2015, eq. 10).

    The gains are torch's; gelu and silu, which torch does not list, take that of relu, which they approach.
    """
    from torch.nn import init

    nonlinearity: Any = "relu" if config.activation in ("gelu", "silu") else config.activation
    fan_in = weight[0].numel()
    init.normal_(weight, std=init.calculate_gain(nonlinearity) / fan_in**0.5)


def _xavier(weight: Tensor, config: Config) -> None:
    from torch.nn import init

    init.xavier_normal_(weight)


def _orthogonal(weight: Tensor, config: Config) -> None:
    from torch.nn import init

    init.orthogonal_(weight)


def _normal(weight: Tensor, config: Config) -> None:
    from torch.nn import init

    assert isinstance(config.init, NormalInit)
    init.normal_(weight, std=config.init.std)


INITS: dict[str, tuple[type[InitConfig], Callable[[Tensor, Config], None] | None]] = {
    "default": (InitConfig, None),
    "kaiming": (InitConfig, _kaiming),
    "xavier": (InitConfig, _xavier),
    "orthogonal": (InitConfig, _orthogonal),
    "normal": (NormalInit, _normal),
}
