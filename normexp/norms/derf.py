"""Dynamic erf: erf(alpha x + s) gamma + beta in place of a norm, without statistics (Chen et al. 2025, "Stronger
Normalization-Free Transformers")."""

from normexp.norms.base import Module, Norm, Site
from normexp.norms.dyt import DynamicTanh


def build(config: DynamicTanh, site: Site) -> Module:
    from normexp.norms.pointwise_modules import DynamicErf

    return DynamicErf(site.all_channels, alpha=config.alpha, affine=config.affine)


ENTRY = Norm(
    name="derf",
    title="dynamic erf",
    config=DynamicTanh,
    axes=("", ""),
    problem=lambda *_: None,
    build=build,
    gated=True,
    parameters=lambda config, site: 2 * site.all_channels * config.affine + 2,
)
