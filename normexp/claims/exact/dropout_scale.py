"""Dropout divides what survives by 1 - p, so that test time needs no change (Srivastava et al. 2014, section 10: "scale up the
retained activations", where the paper's p is the probability of keeping; "inverted dropout").

With r = 1 with probability 1 - p, else 0:    y = r x / (1 - p)    E[y] = x    E[y^2] = x^2 / (1 - p)

The mean stays, the second moment does not. Without the division E[y] = (1 - p) x.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from normexp.claims.exact.base import Exact, Table, Worked, seeded

if TYPE_CHECKING:
    from torch import Tensor

RATES = (0.1, 0.2, 0.5, 0.8)
UNITS = 8


def expectation(x: Tensor, p: float, *, scaled: bool, power: int = 1) -> Tensor:
    """E[y^power] over all 2^F masks of F units, each with its probability."""
    import torch

    bits = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * len(x))
    probability = ((1 - p) * bits + p * (1 - bits)).prod(1, keepdim=True)
    return (probability * (bits * x / (1 - p if scaled else 1.0)) ** power).sum(0)


@seeded
def compute(seed: int) -> Worked:
    import torch

    from normexp.claims.exact.pieces import config, gradient, largest, network, randn

    x = 1 + torch.rand(UNITS, dtype=torch.float64)
    base = replace(config(model="mlp", norm="none"), activation="tanh")
    exact, factor, test, drawn, dropped_most, kept_least, shares = [], [], [], [], [], [], []
    for p in RATES:
        exact.append(largest(expectation(x, p, scaled=True) - x))
        layer = network(replace(base, dropout=p))[1]["fc2"]
        drop = layer.get_submodule("dropout")
        many = x.repeat(20_000, 1)
        y = drop(many)
        kept = y != 0
        shares.append(1 - float(kept.double().mean()))
        factor.append(largest((y - many / (1 - p))[kept]))
        drawn.append(float(y.mean() / x.mean()))

        # One sample through a layer: the gradient to the weights and the bias of each of its units.
        weight = layer.weight
        assert isinstance(weight, torch.nn.Linear)
        y = layer(randn(1, weight.in_features))[0]
        reach = [g.reshape(len(y), -1).abs().sum(1) for g in gradient(y.square().sum(), weight.weight, weight.bias)]
        size = sum(reach[1:], reach[0])
        dropped_most.append(float(size[y == 0].max()))
        kept_least.append(float(size[y != 0].min()))
        test.append(largest(drop.eval()(many) - many))

    def column(scaled: bool, power: int) -> list[float]:
        return [float(expectation(x, p, scaled=scaled, power=power)[0] / x[0] ** power) for p in RATES]

    return Worked(
        numbers={
            "expectation_off": max(exact),
            "survivors_off": max(factor),
            "test_time_change": max(test),
            "drawn_mean_off": max(abs(mean - 1) for mean in drawn),
            "gradient_of_dropped": max(dropped_most),
            "gradient_of_kept": min(kept_least),
        },
        tables=(
            Table(
                f"Over all {2**UNITS} masks of {UNITS} units, each with its probability",
                ("p", "E[y] / x", "E[y] / x without the division", "1 - p", "E[y^2] / x^2", "1 / (1 - p)"),
                tuple(
                    (p, a, b, 1 - p, c, 1 / (1 - p))
                    for p, a, b, c in zip(RATES, column(True, 1), column(False, 1), column(True, 2), strict=True)
                ),
            ),
            Table(
                f"Torch's layer: {20_000 * UNITS:,} values, and one step's gradient to the units of a layer of the network",
                ("p", "share dropped", "mean of y / mean of x", "largest |gradient|, dropped", "smallest, kept"),
                tuple(zip(RATES, shares, drawn, dropped_most, kept_least, strict=True)),
            ),
        ),
    )


ENTRY = Exact(name="dropout-scale", compute=compute)
