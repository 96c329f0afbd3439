"""What batch norm costs at inference (Ioffe and Szegedy 2015, section 3.1: it is a fixed linear transform there, which can
become part of the layer in front of it):

    W' = gamma W / sqrt(Var[x] + eps)    b' = (b - E[x]) gamma / sqrt(Var[x] + eps) + beta

What is counted, for one image: a multiplication and an addition for each weight that an output uses, an addition for each
output with a bias, and both for each output of a norm.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from normexp.claims.exact.base import Exact, Table, Worked, seeded

if TYPE_CHECKING:
    from torch import Tensor, nn

    from normexp.config import Config

SAME = 1e-5
"""How much the outputs of a network may move in float32, beside their size, for it to count as the same."""


def cost(model: nn.Module, image: Tensor) -> tuple[int, int]:
    """Operations of one image's way through the weights and norms of a network, and the numbers that these keep."""
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm

    operations, kept = [], []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Linear | nn.Conv2d):
            each = 2 * module.weight[0].numel() - 1 + (module.bias is not None)
        elif isinstance(module, _BatchNorm):
            each = 2
        else:
            return
        operations.append(each * output.numel())
        kept.append(sum(t.numel() for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()))

    hooks = [module.register_forward_hook(count) for module in model.modules()]
    model(image)
    for hook in hooks:
        hook.remove()
    return sum(operations), sum(kept)


@seeded
def compute(seed: int) -> Worked:
    import torch

    from normexp.claims.exact.pieces import config, network, with_statistics

    cnn: Any = config(model="cnn", norm="bn")
    resnet: Any = config(model="resnet", norm="bn")
    none = config(model="cnn", norm="none").norm
    resnet = replace(resnet, model=replace(resnet.model, depth=8))
    nets: dict[str, Config] = {
        "cnn": cnn,
        "resnet": resnet,
        "resnet, block=preact": replace(resnet, model=replace(resnet.model, block="preact")),
        "cnn, position=post": replace(cnn, norm=replace(cnn.norm, position="post")),
    }
    images = torch.randn(16, 1, 8, 8)
    rows, most, difference, trained = [], 0, 0.0, 0
    for name, chosen in nets.items():
        model, plain = (network(each, dtype=torch.float32)[0] for each in (chosen, replace(chosen, norm=none)))
        with_statistics(model)
        least, kept = cost(plain.eval(), images[:1])
        before, kept_before = cost(model, images[:1])
        cheap, off = folded(model, images)
        after, kept_after = cost(cheap, images[:1])
        rows.append((name, least, before - least, after - least, kept_before - kept, kept_after - kept, off))
        if name in ("cnn", "resnet"):  # batch norm where the paper has it, between each weight and its activation
            most, difference = max(most, after - least), max(difference, off)
            trained = before - least if not trained else min(trained, before - least)
    return Worked(
        numbers={
            "operations_as_trained": float(trained),
            "operations_left": float(most),
            "output_difference": difference,
        },
        tables=(
            Table(
                "For one 8x8 image: what batch norm adds to the same network without it",
                (
                    "network",
                    "operations without bn",
                    "more with bn",
                    "more once folded",
                    "more numbers kept",
                    "once folded",
                    "relative change of the outputs",
                ),
                tuple(rows),
            ),
        ),
    )


def folded(model: nn.Module, images: Tensor) -> tuple[nn.Module, float]:
    """The network with its batch norms folded, as far as they can be, and by how much that moves the outputs, relative to the
    largest. The network itself where it moves them by more than rounding does: then it is not the same function."""
    import torch

    from normexp.claims.exact.pieces import largest
    from normexp.norms.fold import fold, foldable

    if not foldable(model):
        return model, 0.0
    cheap = fold(model)
    with torch.no_grad():
        want = model(images)
        off = largest(cheap(images) - want) / largest(want)
    return (cheap if off <= SAME else model), off


ENTRY = Exact(name="fold", compute=compute)
