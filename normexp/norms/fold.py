"""Fold batch norm into the preceding layer, which removes its cost at inference (Ioffe and Szegedy 2015, section 3.1).

With running statistics, batch norm is an affine map: y = gamma (W x + b - mean) / sqrt(var + eps) + beta equals W' x + b' with

    W' = W gamma / sqrt(var + eps)    and    b' = (b - mean) gamma / sqrt(var + eps) + beta,

with one factor per output channel.
"""

import copy

from torch import nn
from torch.fx import Tracer
from torch.fx.proxy import TraceError
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.nn.utils.parametrize import is_parametrized

from normexp.norms.running import is_affine_in_evaluation
from normexp.weights.plain import make_plain


def fold(model: nn.Module) -> nn.Module:
    """A copy of the model in evaluation mode, with each batch norm that directly follows a linear layer or convolution folded in.

    "Directly" means that nothing else reads the layer's output. In normexp's networks, these are all batch norms of
    `norm.position=pre`, except after an addition (in preact blocks) or dropout. Other norms stay as they are. Normalized weights
    (weight=ws and the like) become plain ones.
    Raises ValueError if there is nothing to fold.
    """
    folded = copy.deepcopy(model).eval()
    pairs = foldable(folded)
    if not pairs:
        raise ValueError("no batch norm of this network directly follows a linear layer or convolution")
    for module in folded.modules():
        make_plain(module)
    for weight_name, norm_name in pairs:
        weight, norm = folded.get_submodule(weight_name), folded.get_submodule(norm_name)
        assert isinstance(weight, nn.Linear | nn.Conv2d) and isinstance(norm, _BatchNorm)
        assert norm.running_mean is not None and norm.running_var is not None
        # Works for linear layers too: fuse_linear_bn_weights can't handle affine=False, this one can.
        weight.weight, weight.bias = fuse_conv_bn_weights(
            weight.weight, weight.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        parent_name, _, name = norm_name.rpartition(".")
        parent = folded.get_submodule(parent_name)
        if isinstance(parent, nn.Sequential):
            delattr(parent, name)
        else:  # the parent's forward refers to it by name
            setattr(parent, name, nn.Identity())
    return folded


def foldable(model: nn.Module) -> list[tuple[str, str]]:
    """Names of each linear layer or convolution and the batch norm that directly follows it. Empty if torch.fx can't trace the
    forward pass, for example because it depends on values."""
    if not any(isinstance(module, _BatchNorm) for module in model.modules()):
        return []
    try:
        graph = _ModuleTracer().trace(model)
    except (TraceError, RuntimeError):  # RuntimeError: len() of a tensor
        return []
    calls = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    pairs = []
    for node in graph.nodes:
        inputs = node.all_input_nodes
        if node.op != "call_module" or len(inputs) != 1 or inputs[0].op != "call_module" or len(inputs[0].users) != 1:
            continue
        pair = str(inputs[0].target), str(node.target)
        # A module that is called more than once would be folded at all of its calls.
        if calls.count(pair[0]) == calls.count(pair[1]) == 1 and _is_foldable(*map(model.get_submodule, pair)):
            pairs.append(pair)
    return pairs


def _is_foldable(weight: nn.Module, norm: nn.Module) -> bool:
    """Whether the norm is a fixed affine map per output channel. Excludes subclasses that may compute something else, norms
    without running statistics, and norms after a linear layer on (B, N, F), whose channels are the N positions."""
    return (
        isinstance(weight, nn.Linear | nn.Conv2d)
        and isinstance(norm, _BatchNorm)
        and is_affine_in_evaluation(norm)
        and norm.running_mean is not None
        and norm.num_features == (weight.out_features if isinstance(weight, nn.Linear) else weight.out_channels)
    )


class _ModuleTracer(Tracer):
    """Traces down to modules without children, and to those with a normalized weight."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return next(m.children(), None) is None or is_parametrized(m)
