"""The optimizers: torch's own, fused (one pass over all parameters of a step)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from normexp.config import OptimConfig, number

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


@dataclass(frozen=True, kw_only=True)
class SGD(OptimConfig):
    momentum: float = number(least=0, below=1)
    nesterov: bool


@dataclass(frozen=True, kw_only=True)
class Adam(OptimConfig):
    beta1: float = number(least=0, below=1)
    beta2: float = number(least=0, below=1)
    eps: float = number(above=0)


def _sgd(parameters: Iterable[nn.Parameter], config: SGD, lr: float) -> Optimizer:
    from torch import optim

    return optim.SGD(
        parameters,
        lr=lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=True,
    )


def _adam(parameters: Iterable[nn.Parameter], config: Adam, lr: float) -> Optimizer:
    from torch import optim

    adam = optim.AdamW if config.name == "adamw" else optim.Adam
    betas = (config.beta1, config.beta2)
    return adam(parameters, lr=lr, betas=betas, eps=config.eps, weight_decay=config.weight_decay, fused=True)


OPTIMIZERS: dict[str, tuple[type[OptimConfig], Callable[[Iterable[nn.Parameter], Any, float], Optimizer]]] = {
    "sgd": (SGD, _sgd),
    "adam": (Adam, _adam),
    "adamw": (Adam, _adam),
}
