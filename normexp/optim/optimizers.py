"""The optimizers: torch's own, fused (one pass over all parameters of a step)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
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

    return plain(optim.SGD)(
        parameters,
        lr=lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=True,
    )


def _adam(parameters: Iterable[nn.Parameter], config: Adam, lr: float) -> Optimizer:
    from torch import optim

    adam = plain(optim.AdamW if config.name == "adamw" else optim.Adam)
    betas = (config.beta1, config.beta2)
    return adam(parameters, lr=lr, betas=betas, eps=config.eps, weight_decay=config.weight_decay, fused=True)


@cache
def plain(optimizer: Any) -> Callable[..., Optimizer]:
    """One of torch's optimizer classes without what torch wraps around its methods, which serves its compiler and hooks.

    The wrappers import the compiler when they are first called, which takes as long as torch itself, and cost time in each step.
    """

    class Plain(optimizer):  # type: ignore[misc]
        add_param_group = inspect.unwrap(optimizer.add_param_group)
        state_dict = inspect.unwrap(optimizer.state_dict)
        load_state_dict = inspect.unwrap(optimizer.load_state_dict)

        def step(self, closure: None = None) -> None:
            with torch.no_grad():
                raw(self)

        step.hooked = True  # type: ignore[attr-defined]  # so that torch does not wrap it

    import torch

    raw = inspect.unwrap(optimizer.step)
    Plain.__name__ = optimizer.__name__
    return Plain


OPTIMIZERS: dict[str, tuple[type[OptimConfig], Callable[[Iterable[nn.Parameter], Any, float], Optimizer]]] = {
    "sgd": (SGD, _sgd),
    "adam": (Adam, _adam),
    "adamw": (Adam, _adam),
}
