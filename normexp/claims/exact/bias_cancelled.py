"""A bias right in front of batch norm does nothing (Ioffe and Szegedy 2015, section 3.2): the batch's mean takes it along, so
that

    BN(W u + b) = BN(W u)    and    dl/db = 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from normexp.claims.exact.base import Exact, Table, Worked, seeded

if TYPE_CHECKING:
    from torch import Tensor, nn

WIDTH = 6


def effect(behind: nn.Module, weight: nn.Linear, u: Tensor, target: Tensor, shift: Tensor) -> tuple[float, float]:
    """Of the bias of a linear layer: its gradient's norm over that of the weights, and how far a shift of it moves the output."""
    from normexp.claims.exact.pieces import gradient, largest

    y = behind(weight(u))
    to_weight, to_bias = gradient((y - target).square().sum(), weight.weight, weight.bias)
    return float(to_bias.norm() / to_weight.norm()), largest(behind(weight(u) + shift) - y)


@seeded
def compute(seed: int) -> Worked:
    import torch
    from torch import nn

    from normexp.claims.exact.pieces import config, largest, network, norm, randn

    weight = nn.Linear(5, WIDTH, dtype=torch.float64)
    u, target, shift = randn(16, 5), randn(16, WIDTH), randn(WIDTH, std=10)
    behind = {
        "bn": norm("bn", (WIDTH,)),
        "relu, then bn": nn.Sequential(nn.ReLU(), norm("bn", (WIDTH,))),
        "ln": norm("ln", (WIDTH,)),
        "gn with 2 groups": norm("gn", (WIDTH,), groups=2),
        "nothing": nn.Identity(),
    }
    effects = {name: effect(module, weight, u, target, shift) for name, module in behind.items()}
    effects["bn, at test time"] = effect(behind["bn"].eval(), weight, u, target, shift)

    plans = [layer.plan for layer in network(config(model="mlp", norm="bn"))[1].values()]
    normed = [plan for plan in plans if "norm" in plan.parts]
    return Worked(
        numbers={
            "gradient_share": effects["bn"][0],
            "change": effects["bn"][1],
            "biases_in_front_of_bn": float(sum(plan.bias for plan in normed)),
        },
        tables=(
            Table(
                f"A linear layer with a bias b; b is shifted by up to {largest(shift):.3g}",
                ("behind the layer", "|dl/db| / |dl/dW|", "largest change of the output"),
                tuple((name, *each) for name, each in effects.items()),
            ),
            Table(
                "The layers of normexp's own network (model=mlp norm=bn)",
                ("layer", "parts", "has a bias"),
                tuple((plan.name, ", ".join(plan.parts), "yes" if plan.bias else "no") for plan in plans),
            ),
        ),
    )


ENTRY = Exact(name="bias-cancelled", compute=compute)
