"""The cost of batch norm at inference (Ioffe and Szegedy 2015, section 3.1).

It is then a fixed linear transform, which can be folded into the preceding layer:

    W' = gamma W / sqrt(Var[x] + eps)    b' = (b - E[x]) gamma / sqrt(Var[x] + eps) + beta

Operations for one image: a multiplication and an addition for each weight that an output uses, an addition for each output
with a bias, and both for each output of a norm.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from normexp.claims.exact.base import ExactClaim, ExactResult, Table, build_network, default_config, max_abs
from normexp.norms.fold import fold, foldable

ROUNDING = 1e-5
"""Relative change of the outputs up to which a folded float32 network counts as the same function."""


def count_cost(model: nn.Module, image: Tensor) -> tuple[int, int]:
    """Operations in the layers and norms of a network for one image (1, C, H, W), and the numbers that these store."""
    operations, stored = [], []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Linear | nn.Conv2d):
            per_output = 2 * module.weight[0].numel() - 1 + (module.bias is not None)
        elif isinstance(module, _BatchNorm):
            per_output = 2
        else:
            return
        operations.append(per_output * output.numel())
        stored.append(sum(t.numel() for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()))

    hooks = [module.register_forward_hook(count) for module in model.modules()]
    model(image)
    for hook in hooks:
        hook.remove()
    return sum(operations), sum(stored)


def compute() -> ExactResult:
    cnn, resnet = (default_config(model=model, norm="bn") for model in ("cnn", "resnet"))
    none = default_config(model="cnn", norm="none").norm
    resnet = replace(resnet, model=replace(resnet.model, depth=8))
    configs = {
        "cnn": cnn,
        "resnet": resnet,
        "resnet, block=preact": replace(resnet, model=replace(resnet.model, block="preact")),
        "cnn, position=post": replace(cnn, norm=replace(cnn.norm, position="post")),
    }
    images = torch.randn(16, 1, 8, 8)
    rows = []
    for name, config in configs.items():
        model, plain = (build_network(c, dtype=torch.float32)[0].eval() for c in (config, replace(config, norm=none)))
        randomize_batch_norms(model)
        folded, difference = fold_if_same(model, images)
        costs = torch.tensor([count_cost(network, images[:1]) for network in (plain, model, folded)])
        operations, stored = (costs[1:] - costs[0]).T.tolist()  # more than without a norm: as trained, and folded
        rows.append((name, int(costs[0, 0]), *operations, *stored, difference))
    # batch norm where the paper has it, between each weight and its activation
    _, _, as_trained, left, _, _, differences = zip(*rows[:2], strict=True)
    numbers = {
        "operations_as_trained": float(min(as_trained)),
        "operations_left": float(max(0, *left)),
        "output_difference": max(0.0, *differences),
    }
    columns = ("added by bn", "once folded", "numbers stored by bn", "once folded", "relative change of outputs")
    heads = ("network", "operations, no bn", *columns)
    title = "Operations and stored numbers that batch norm adds to a network, for one 8x8 image"
    return ExactResult(numbers, (Table(title, heads, rows),))


def randomize_batch_norms(model: nn.Module) -> None:
    """Set the running statistics, gamma and beta of all batch norms far from the identity, as after training."""
    for norm in (module for module in model.modules() if isinstance(module, _BatchNorm)):
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.2, 5)
        norm.weight.data.uniform_(0.5, 2)
        norm.bias.data.normal_()


def fold_if_same(model: nn.Module, images: Tensor) -> tuple[nn.Module, float]:
    """Fold the batch norms as far as possible. Returns the network and the relative change of its outputs.

    Returns the unfolded network if the change exceeds rounding: the folded one is then another function.
    """
    if not foldable(model):
        return model, 0.0
    folded = fold(model)
    with torch.no_grad():
        expected = model(images)
        difference = max_abs(folded(images) - expected) / max_abs(expected)
    return (folded if difference <= ROUNDING else model), difference


ENTRY = ExactClaim("fold", compute)
