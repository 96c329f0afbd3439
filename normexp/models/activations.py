"""Activations. Imports torch late, since checks and `describe` only count parameters."""

from typing import get_args

from normexp.config.schema import Activation
from normexp.norms import Site
from normexp.norms.base import Module

ACTIVATIONS: tuple[str, ...] = get_args(Activation)


def activation_parameters(name: str, site: Site) -> int:
    """Number of parameters of an activation: tlu learns a threshold per channel."""
    return site.channels if name == "tlu" else 0


def build_activation(name: str, site: Site) -> Module:
    """The module of an activation whose input has the site's shape."""
    from torch import nn

    if name == "tlu":
        from normexp.models.tlu import TLU

        return TLU(site.channels)
    modules = {
        "relu": nn.ReLU,
        "leaky_relu": nn.LeakyReLU,
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
        "gelu": nn.GELU,
        "silu": nn.SiLU,
        "identity": nn.Identity,
    }
    module: Module = modules[name]()
    return module
