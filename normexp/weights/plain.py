"""Turn a layer with a normalized weight into a plain one."""

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized


def make_plain(module: nn.Module) -> None:
    """Replace the parametrization of a module's weight by the weight that it computes now. Does nothing without one.

    torch's remove_parametrizations edits the module's class, which copies of the module share (torch 2.13.0).
    """
    if not is_parametrized(module, "weight"):
        return
    parametrized = module.parametrizations
    assert isinstance(parametrized, nn.ModuleDict) and [*parametrized] == ["weight"]  # the class holds all of them
    with torch.no_grad():
        weight = module.weight
    assert isinstance(weight, torch.Tensor)
    del module.parametrizations
    module.__class__ = type(module).__bases__[0]
    module.weight = nn.Parameter(weight)
