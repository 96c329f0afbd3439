"""Dropout divides the kept activations by 1 - p, so test time needs no change (Srivastava et al. 2014, section 10).

The paper's p is the probability of keeping a unit; here it is the dropout rate. With r = 1 with probability 1 - p, else 0:

    y = r x / (1 - p)    E[y] = x    E[y^2] = x^2 / (1 - p)

The mean is preserved, the second moment is not. Without the division E[y] = (1 - p) x.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.autograd import grad

from normexp.claims.exact.base import ExactClaim, ExactResult, Table
from normexp.claims.exact.common import build_network, default_config, max_abs, randn

RATES = (0.1, 0.2, 0.5, 0.8)
UNITS = 8


def expectation(x: Tensor, p: float, *, scaled: bool, power: int = 1) -> Tensor:
    """E[y^power] of F units, summed over all 2^F masks weighted by their probability."""
    bits = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * len(x))
    probability = ((1 - p) * bits + p * (1 - bits)).prod(1, keepdim=True)
    return (probability * (bits * x / (1 - p if scaled else 1.0)) ** power).sum(0)


def compute() -> ExactResult:
    x = 1 + torch.rand(UNITS, dtype=torch.float64)
    base = replace(default_config(model="mlp", norm="none"), activation="tanh")
    expectation_off, scale_off, test_change, mean_ratios = [], [], [], []
    drop_rates, dropped_gradients, kept_gradients = [], [], []
    for p in RATES:
        expectation_off.append(max_abs(expectation(x, p, scaled=True) - x))
        layer = build_network(replace(base, dropout=p))[1]["fc2"]
        dropout = layer.get_submodule("dropout")
        inputs = x.repeat(20_000, 1)
        y = dropout(inputs)
        kept = y != 0
        drop_rates.append(1 - float(kept.double().mean()))
        scale_off.append(max_abs((y - inputs / (1 - p))[kept]))
        mean_ratios.append(float(y.mean() / x.mean()))

        # The gradient of each unit of a layer (its weights and bias) for one sample.
        linear = layer.weight
        assert isinstance(linear, nn.Linear)
        y = layer(randn(1, linear.in_features))[0]
        to_weight, to_bias = grad(y.square().sum(), (linear.weight, linear.bias))
        size = to_weight.abs().sum(1) + to_bias.abs()
        dropped_gradients.append(float(size[y == 0].max()))
        kept_gradients.append(float(size[y != 0].min()))
        test_change.append(max_abs(dropout.eval()(inputs) - inputs))

    def column(scaled: bool, power: int) -> list[float]:
        return [float(expectation(x, p, scaled=scaled, power=power)[0] / x[0] ** power) for p in RATES]

    return ExactResult(
        numbers={
            "expectation_off": max(expectation_off),
            "survivors_off": max(scale_off),
            "test_time_change": max(test_change),
            "drawn_mean_off": max(abs(ratio - 1) for ratio in mean_ratios),
            "gradient_of_dropped": max(dropped_gradients),
            "gradient_of_kept": min(kept_gradients),
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
                tuple(zip(RATES, drop_rates, mean_ratios, dropped_gradients, kept_gradients, strict=True)),
            ),
        ),
    )


ENTRY = ExactClaim("dropout-scale", compute)
