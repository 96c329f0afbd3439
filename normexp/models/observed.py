"""Layers that are called for their hooks alone."""

from itertools import chain

from torch import nn


def has_hooks(layer: nn.Module) -> bool:
    """Whether a layer or one of its parts has hooks on its forward pass."""
    return any(chain.from_iterable((m._forward_hooks, m._forward_pre_hooks) for m in layer.modules()))
