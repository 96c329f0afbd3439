"""Instance norm (Ulyanov et al. 2016): a mean and variance per sample and channel, over H, W."""

from __future__ import annotations

from typing import TYPE_CHECKING

from normexp.config import NormConfig
from normexp.norms.base import Norm, Site

if TYPE_CHECKING:
    from torch import nn


def problem(config: NormConfig, site: Site, batch_size: int) -> tuple[str, str] | None:
    if len(site.shape) == 1:
        return (
            "behind a linear layer a channel has a single value a sample, so that nothing is left to normalise",
            "It works behind convolutions: model=cnn with model.head=gap, or model=resnet; for linear layers take norm=ln.",
        )
    if site.positions == 1:
        return "the image is a single pixel there, with no variance", "Fewer stages, or larger images, work."
    return None


def build(config: NormConfig, site: Site) -> nn.Module:
    from torch import nn

    return nn.InstanceNorm2d(site.channels, eps=config.eps, affine=config.affine)


ENTRY = Norm(name="in", title="instance norm", axes=("H,W", ""), problem=problem, build=build, cancels_bias=True)
