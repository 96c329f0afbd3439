"""Weight standardization (Qiao et al. 2019, arXiv:1903.10520): (W - mean) / sqrt(var + eps) for each filter W of a hidden layer.

The mean and the biased variance are over the fan_in values of the filter. The paper standardizes convolutions and relies on the
norm after them (gn in most of its experiments) for the scale; the classifier stays as it is, here too. The published code
divides by std + 1e-5. eps=1e-10 inside the root acts at the same scale of W, and has a gradient where the variance is 0.
"""

from dataclasses import dataclass

from normexp.config import WeightConfig, number
from normexp.weights.base import Filters, Module, Weight, no_variance


@dataclass(frozen=True, kw_only=True)
class WeightStandardization(WeightConfig):
    eps: float = number(above=0)


def apply(config: WeightStandardization, filters: Filters, module: Module) -> None:
    from torch.nn.utils.parametrize import register_parametrization

    from normexp.weights.standardize import Standardize

    register_parametrization(module, "weight", Standardize(config.eps))


ENTRY = Weight(
    name="ws",
    title="weight standardization",
    apply=apply,
    config=WeightStandardization,
    problem=no_variance,
    cancels_scale=True,
)
