"""Torch's optimizers in their fused versions, which update all parameters in one pass."""

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
    momentum: float = number(minimum=0, below=1)
    nesterov: bool


@dataclass(frozen=True, kw_only=True)
class Adam(OptimConfig):
    beta1: float = number(minimum=0, below=1)
    beta2: float = number(minimum=0, below=1)
    eps: float = number(above=0)


def _sgd(parameters: Iterable[nn.Parameter], config: SGD, lr: float) -> Optimizer:
    from torch import optim

    sgd, decay = without_wrappers(optim.SGD), config.weight_decay
    return sgd(parameters, lr=lr, momentum=config.momentum, nesterov=config.nesterov, weight_decay=decay, fused=True)


def _adam(parameters: Iterable[nn.Parameter], config: Adam, lr: float) -> Optimizer:
    from torch import optim

    adam = without_wrappers(optim.AdamW if config.name == "adamw" else optim.Adam)
    betas = (config.beta1, config.beta2)
    return adam(parameters, lr=lr, betas=betas, eps=config.eps, weight_decay=config.weight_decay, fused=True)


@cache
def without_wrappers(optimizer: Any) -> Callable[..., Optimizer]:
    """A torch optimizer class without the wrappers around its methods, which serve torch.compile and hooks. They cost time in
    each step, and import the compiler when first called, which takes as long as importing torch."""

    class Unwrapped(optimizer):  # type: ignore[misc]
        add_param_group = inspect.unwrap(optimizer.add_param_group)
        state_dict = inspect.unwrap(optimizer.state_dict)
        load_state_dict = inspect.unwrap(optimizer.load_state_dict)

        def step(self, closure: None = None) -> None:
            with torch.no_grad():
                raw(self)

        step.hooked = True  # type: ignore[attr-defined]  # keeps torch from wrapping it

    import torch

    raw = inspect.unwrap(optimizer.step)
    Unwrapped.__name__ = optimizer.__name__
    return Unwrapped


OPTIMIZERS: dict[str, tuple[type[OptimConfig], Callable[[Iterable[nn.Parameter], Any, float], Optimizer]]] = {
    "sgd": (SGD, _sgd),
    "adam": (Adam, _adam),
    "adamw": (Adam, _adam),
}
