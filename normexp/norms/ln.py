"""Layer norm (Ba et al. 2016, eq. 3): a mean and variance per sample, over C, H, W or F."""

from normexp.config import NormConfig
from normexp.norms.base import Module, Norm, Site


def problem(config: NormConfig, site: Site, batch_size: int) -> tuple[str, str] | None:
    if site.channels * site.positions > 1:
        return None
    return "it has a single value per sample and thus no variance", "Use a wider layer."


def build(config: NormConfig, site: Site) -> Module:
    # GroupNorm with one group is layer norm with gamma and beta per channel, for images and vectors.
    # nn.LayerNorm on (C, H, W) would learn a gamma and beta per position as well.
    from torch import nn

    return nn.GroupNorm(1, site.channels, eps=config.eps, affine=config.affine)


ENTRY = Norm(name="ln", title="layer norm", axes=("C,H,W", "F"), problem=problem, build=build)
