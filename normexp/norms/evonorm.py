"""EvoNorm-S0 (Liu et al. 2020, table 2): norm and activation in one, x sigmoid(v x) / std of the group, times gamma, plus beta.

Where a layer has no activation next to its norm, such as before an addition, the factor sigmoid(v x) is left out.
"""

from normexp.norms.base import Module, Norm, Site
from normexp.norms.gn import GroupNorm, num_groups, problem


def build(config: GroupNorm, site: Site) -> Module:
    from normexp.norms.pointwise_modules import EvoNorm

    groups = num_groups(config, site.channels) * site.gates
    return EvoNorm(site.all_channels, groups, eps=config.eps, affine=config.affine, gated=site.activated)


ENTRY = Norm(
    name="evonorm",
    title="EvoNorm-S0",
    config=GroupNorm,
    axes=("C/G,H,W", "F/G"),
    problem=problem,
    build=build,
    gated=True,
    groups=num_groups,
    activates=True,
    parameters=lambda config, site: (site.activated + 2 * config.affine) * site.all_channels,
)
