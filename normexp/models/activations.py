"""Activations. Imports torch late, since checks and `describe` only count parameters."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from normexp.config import ConfigError, installed, show
from normexp.norms import Site
from normexp.norms.base import Module


@dataclass(frozen=True)
class Activation:
    """An activation that `activation` can choose.

    build: creates the module for an input of the site's shape. gain: the factor of init=kaiming that makes up for the activation.
    parameters: number of its parameters at a site.
    """

    name: str
    build: Callable[[Site], Module]
    gain: float = math.sqrt(2)
    parameters: Callable[[Site], int] = lambda site: 0


def _from_torch(name: str, module: str, gain: float = math.sqrt(2)) -> Activation:
    def build(site: Site) -> Module:
        from torch import nn

        built: Module = getattr(nn, module)()
        return built

    return Activation(name, build, gain)


def _tlu(site: Site) -> Module:
    from normexp.models.tlu import TLU

    return TLU(site.channels)


SLOPE = 0.01  # of leaky_relu

ACTIVATIONS: dict[str, Activation] = {
    entry.name: entry
    for entry in (
        _from_torch(
            "relu", "ReLU"
        ),  # gains as in torch.nn.init.calculate_gain; for those that it doesn't know, that of relu
        _from_torch("leaky_relu", "LeakyReLU", math.sqrt(2 / (1 + SLOPE**2))),
        _from_torch("sigmoid", "Sigmoid", 1.0),
        _from_torch("tanh", "Tanh", 5 / 3),
        _from_torch("gelu", "GELU"),
        _from_torch("silu", "SiLU"),
        Activation("tlu", _tlu, parameters=lambda site: site.channels),
        _from_torch("identity", "Identity", 1.0),
    )
}
"""By name. Registered ones and those of other packages are added when they are first used."""

SHIPPED = tuple(ACTIVATIONS)


def find_activation(name: str) -> Activation:
    """The activation of a valid config. Raises ConfigError if it is of a package and can't be used."""
    component = installed.find("activation", name, shipped=name in SHIPPED)
    if name not in ACTIVATIONS and component is not None:
        entry = component.load()
        check_activation(entry, component.origin)
        if entry.name != name:
            raise ConfigError(
                f"{component.origin}: its entry is named {show(entry.name)}; both names must be the same."
            )
        ACTIVATIONS[name] = entry
    return ACTIVATIONS[name]


def check_activation(entry: object, called: str) -> None:
    """Raise ConfigError if an entry is unsuitable. called: what messages call it."""
    if not isinstance(entry, Activation):
        kind = f"{Activation.__module__}.{Activation.__name__}"
        raise ConfigError(f"{called} must be a {kind}, not {show(type(entry).__name__)}.")
    installed.check_name(entry.name, called)
