"""Filter response norm (Singh and Krishnan 2020, eq. 1 to 3): divides each channel of each sample by the root of its mean square.

After a linear layer, a channel is a single value: see `learned_eps` of the module.
"""

from normexp.config import NormConfig
from normexp.norms.base import Module, Norm, Site


def build(config: NormConfig, site: Site) -> Module:
    from normexp.norms.pointwise_modules import FilterResponseNorm

    return FilterResponseNorm(site.all_channels, eps=config.eps, affine=config.affine, learned_eps=site.positions == 1)


ENTRY = Norm(
    name="frn",
    title="filter response norm",
    axes=("H,W", ""),
    problem=lambda *_: None,
    build=build,
    gated=True,
    parameters=lambda config, site: 2 * site.all_channels * config.affine + (site.positions == 1),
)
