"""Batch norm without its cost at inference (Ioffe and Szegedy 2015, section 3.1): a part of the layer in front of it.

With running statistics, batch norm is the same linear map for every sample: y = gamma (W x + b - mean) / sqrt(var + eps) + beta
is W' x + b' with

    W' = W gamma / sqrt(var + eps)    and    b' = (b - mean) gamma / sqrt(var + eps) + beta,

one factor for each output channel.
"""

from __future__ import annotations

import copy

from torch import nn
from torch.fx import Tracer
from torch.fx.proxy import TraceError
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fold(model: nn.Module) -> nn.Module:
    """A copy, in evaluation mode, in which every batch norm directly behind a linear layer or convolution is part of it.

    Directly: nothing else reads what lies between the two. In these networks that is every batch norm of `norm.position=pre`,
    but for those of preact blocks that normalise what an addition has left, and those behind dropout. All other norms stay as
    they are.
    Raises ValueError where there is no batch norm to fold.
    """
    folded = copy.deepcopy(model).eval()
    pairs = foldable(folded)
    if not pairs:
        raise ValueError("no batch norm of this network is directly behind a linear layer or convolution")
    for weight_name, norm_name in pairs:
        weight, norm = folded.get_submodule(weight_name), folded.get_submodule(norm_name)
        assert isinstance(weight, nn.Linear | nn.Conv2d) and isinstance(norm, _BatchNorm)
        assert norm.running_mean is not None and norm.running_var is not None
        # It scales the rows of any weight. Its sibling for linear layers can't do without gamma and beta (affine=False).
        weight.weight, weight.bias = fuse_conv_bn_weights(
            weight.weight, weight.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        parent_name, _, name = norm_name.rpartition(".")
        parent = folded.get_submodule(parent_name)
        if isinstance(parent, nn.Sequential):
            delattr(parent, name)
        else:  # its forward calls it by name
            setattr(parent, name, nn.Identity())
    return folded


def foldable(model: nn.Module) -> list[tuple[str, str]]:
    """The names of each linear layer or convolution and of the batch norm directly behind it; none in a network whose forward
    pass can't be followed (it depends on the values, say)."""
    if not any(isinstance(module, _BatchNorm) for module in model.modules()):
        return []
    try:
        graph = _Wiring().trace(model)
    except TraceError:
        return []
    calls = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    pairs = []
    for node in graph.nodes:
        if node.op != "call_module" or len(node.all_input_nodes) != 1:
            continue
        (before,) = node.all_input_nodes
        if before.op != "call_module" or len(before.users) != 1:
            continue
        weight_name, norm_name = str(before.target), str(node.target)
        weight, norm = model.get_submodule(weight_name), model.get_submodule(norm_name)
        # A module that stands in several places would be folded in all of them.
        alone = calls.count(weight_name) == calls.count(norm_name) == 1
        if (
            alone
            and isinstance(weight, nn.Linear | nn.Conv2d)
            and isinstance(norm, _BatchNorm)
            and _is_map(weight, norm)
        ):
            pairs.append((weight_name, norm_name))
    return pairs


def _is_map(weight: nn.Linear | nn.Conv2d, norm: _BatchNorm) -> bool:
    """Whether the norm is a fixed map of each of the weight's output channels: not one of somebody's own, which may compute
    something else, not without running statistics, and not behind a linear layer on (B, N, F), whose N positions it takes for
    its channels."""
    kind = getattr(type(norm), "of", type(norm))
    return (
        kind in (nn.BatchNorm1d, nn.BatchNorm2d)
        and norm.running_mean is not None
        and norm.num_features == weight.weight.shape[0]
    )


class _Wiring(Tracer):
    """Follows the values from module to module, without a look into those that have no parts of their own."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return next(m.children(), None) is None
