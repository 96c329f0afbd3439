"""Scaled weight standardization (Brock et al. 2021, arXiv:2101.08692): gain * gamma * (W - mean) / sqrt(fan_in * (var + eps)).

The mean and the biased variance are over the fan_in values of a filter. gain is learned, one per filter, and starts at 1. gamma
is 1/std of g(x) for the activation g and x ~ N(0, 1), so that a hidden layer without a norm keeps the variance of its
pre-activations at 1. It belongs to the activation of the layer's inputs: 1 for the layer that reads the data. The classifier
stays as it is, as in the published code, whose floor of 1e-4 for fan_in * var has the role of eps.
"""

import math
from dataclasses import dataclass

from normexp.config import join_names
from normexp.weights.base import Filters, Module, Weight, no_variance
from normexp.weights.ws import WeightStandardization

SLOPE = 0.01  # of leaky_relu

GAMMAS = {
    "relu": math.sqrt(2 / (1 - 1 / math.pi)),  # 1.71286: Brock et al. 2021, section 4.2
    # E[g] = (1 - a) / sqrt(2 pi) and E[g^2] = (1 + a^2) / 2 with the slope a
    "leaky_relu": ((1 + SLOPE**2) / 2 - (1 - SLOPE) ** 2 / (2 * math.pi)) ** -0.5,
    "tlu": math.sqrt(2 / (1 - 1 / math.pi)),  # tau starts at 0, where it is relu
    "identity": 1.0,
    # by quadrature
    "sigmoid": 4.8013133720399622,
    "tanh": 1.5925374197228314,
    "gelu": 1.7009262433633331,
    "silu": 1.787187222100442,
}
"""1/std of the activation of a standard normal value. tests/weights/test_weights.py computes them independently."""


@dataclass(frozen=True, kw_only=True)
class ScaledWeightStandardization(WeightStandardization):
    pass


def problem(config: ScaledWeightStandardization, filters: Filters) -> tuple[str, str] | None:
    if filters.after not in GAMMAS:
        wrong = f"the standard deviation of activation={filters.after}, which it divides by, is not known"
        return wrong, f"Use activation={join_names(GAMMAS)}, or weight=ws with a norm."
    return no_variance(config, filters)


def apply(config: ScaledWeightStandardization, filters: Filters, module: Module) -> None:
    from torch.nn.utils.parametrize import register_parametrization

    from normexp.weights.standardize import ScaledStandardize

    standardize = ScaledStandardize(filters.count, GAMMAS[filters.after], config.eps)
    register_parametrization(module, "weight", standardize)


ENTRY = Weight(
    name="sws",
    title="scaled weight standardization",
    apply=apply,
    config=ScaledWeightStandardization,
    problem=problem,
    cancels_scale=True,
    parameters=lambda filters: filters.count,
)
