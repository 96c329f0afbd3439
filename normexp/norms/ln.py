"""Layer norm (Ba et al. 2016, eq. 3): a mean and variance per sample, over C, H, W or F; or per position, over C alone."""

from dataclasses import dataclass
from typing import Literal

from normexp.config import NormConfig
from normexp.norms.base import Module, Norm, Site


@dataclass(frozen=True, kw_only=True)
class LayerNorm(NormConfig):
    axes: Literal["all", "channel"] = "all"


def problem(config: LayerNorm, site: Site, batch_size: int) -> tuple[str, str] | None:
    if site.channels > 1 or (config.axes == "all" and site.positions > 1):
        return None
    alone = "it has a single channel, so each position has a single value and thus no variance"
    wrong = alone if site.positions > 1 else "it has a single value per sample and thus no variance"
    return wrong, "Use a wider layer, or norm.axes=all." if site.positions > 1 else "Use a wider layer."


def build(config: LayerNorm, site: Site) -> Module:
    # GroupNorm with one group is layer norm with gamma and beta per channel, for images and vectors.
    # nn.LayerNorm on (C, H, W) would learn a gamma and beta per position as well.
    from torch import nn

    from normexp.norms.channel_modules import ChannelLayerNorm

    if config.axes == "channel" and len(site.shape) > 1:
        return ChannelLayerNorm(site.channels, eps=config.eps, elementwise_affine=config.affine)
    return nn.GroupNorm(site.gates, site.all_channels, eps=config.eps, affine=config.affine)


def axes(config: LayerNorm) -> tuple[str, str]:
    return "C,H,W" if config.axes == "all" else "C", "F"


ENTRY = Norm(name="ln", title="layer norm", config=LayerNorm, axes=axes, problem=problem, build=build, gated=True)
