"""Instance norm (Ulyanov et al. 2016): a mean and variance per sample and channel, over H, W."""

from normexp.config import NormConfig
from normexp.norms.base import Module, Norm, Site

WITH_POSITIONS = "Use norm=ln, or, on images, model=cnn or vgg with model.head=gap, resnet or vit."
"""Advice for layers without positions: what works with vectors, and the models that have none of these layers."""


def problem(config: NormConfig, site: Site, batch_size: int) -> tuple[str, str] | None:
    if len(site.shape) == 1:
        return (
            "after a linear layer, each channel has a single value per sample, so there is nothing to normalize",
            WITH_POSITIONS,
        )
    if site.positions == 1:
        return "its output is a single pixel, which has no variance", "Use fewer stages or larger images."
    return None


def build(config: NormConfig, site: Site) -> Module:
    from torch import nn

    norm = nn.InstanceNorm2d if len(site.shape) == 3 else nn.InstanceNorm1d
    return norm(site.channels, eps=config.eps, affine=config.affine)


ENTRY = Norm(name="in", title="instance norm", axes=("H,W", ""), problem=problem, build=build, cancels_bias=True)
