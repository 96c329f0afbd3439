"""Dropout divides the kept activations by 1 - p, so test time needs no change (Srivastava et al. 2014, section 10).

The paper's p is the probability of keeping a unit; here it is the dropout rate. With r = 1 with probability 1 - p, else 0:

    y = r x / (1 - p)    E[y] = x    E[y^2] = x^2 / (1 - p)

The mean is preserved, the second moment is not. Without the division E[y] = (1 - p) x.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.autograd import grad

from normexp.claims.exact.base import ExactClaim, ExactResult, Table, build_network, default_config, max_abs, randn

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
    inputs = x.repeat(20_000, 1)
    scale_off, test_change, by_mask, drawn = [], [], [], []
    for p in RATES:
        layer = build_network(replace(base, dropout=p))[1]["fc2"]
        dropout = layer.get_submodule("dropout")
        y = dropout(inputs)
        kept = y != 0
        drop_rate, mean_ratio = 1 - float(kept.double().mean()), float(y.mean() / x.mean())
        scale_off.append(max_abs((y - inputs / (1 - p))[kept]))

        # The gradient of each unit of a layer (its weights and bias) for one sample.
        linear = layer.weight
        assert isinstance(linear, nn.Linear)
        y = layer(randn(1, linear.in_features))[0]
        to_weight, to_bias = grad(y.square().sum(), (linear.weight, linear.bias))
        size = to_weight.abs().sum(1) + to_bias.abs()
        drawn.append((p, drop_rate, mean_ratio, float(size[y == 0].max()), float(size[y != 0].min())))
        test_change.append(max_abs(dropout.eval()(inputs) - inputs))

        mean, unscaled = (float(expectation(x, p, scaled=scaled)[0] / x[0]) for scaled in (True, False))
        square = float(expectation(x, p, scaled=True, power=2)[0] / x[0] ** 2)
        by_mask.append((p, mean, unscaled, 1 - p, square, 1 / (1 - p)))
    numbers = {
        "expectation_off": max(max_abs(expectation(x, p, scaled=True) - x) for p in RATES),
        "survivors_off": max(scale_off),
        "test_time_change": max(test_change),
        "drawn_mean_off": max(abs(row[2] - 1) for row in drawn),
        "gradient_of_dropped": max(row[3] for row in drawn),
        "gradient_of_kept": min(row[4] for row in drawn),
    }
    of_masks = Table(
        f"All {2**UNITS} masks of {UNITS} units, weighted by their probability",
        ("p", "E[y] / x", "E[y] / x without division", "1 - p", "E[y^2] / x^2", "1 / (1 - p)"),
        by_mask,
    )
    of_drawn = Table(
        f"torch's layer on {20_000 * UNITS:,} values, and the gradients of a network's units in one step",
        ("p", "share dropped", "mean of y / mean of x", "largest |gradient|, dropped", "smallest, kept"),
        drawn,
    )
    return ExactResult(numbers, (of_masks, of_drawn))


ENTRY = ExactClaim("dropout-scale", compute)
