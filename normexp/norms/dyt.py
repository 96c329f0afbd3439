"""Dynamic tanh (Zhu et al. 2025, section 4): tanh(alpha x) gamma + beta in place of a norm, without statistics.

It limits large inputs but doesn't enlarge small ones. Without residual branches, outputs shrink with depth under init=default:
learning starts later than without a norm, unless init=kaiming or a larger alpha makes up for it.
"""

from dataclasses import dataclass

from normexp.config import NormConfig, number
from normexp.norms.base import Module, Norm, Site


@dataclass(frozen=True, kw_only=True)
class DynamicTanh(NormConfig):
    alpha: float = number(above=0)


def build(config: DynamicTanh, site: Site) -> Module:
    from normexp.norms import pointwise_modules

    return pointwise_modules.DynamicTanh(site.all_channels, alpha=config.alpha, affine=config.affine)


ENTRY = Norm(
    name="dyt",
    title="dynamic tanh",
    config=DynamicTanh,
    axes=("", ""),
    problem=lambda *_: None,
    build=build,
    gated=True,
    parameters=lambda config, site: 2 * site.all_channels * config.affine + 1,
)
