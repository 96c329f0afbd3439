"""Centering: subtract each channel's mean over the batch, and scale."""

from dataclasses import dataclass

from normexp.config import NormConfig, number
from normexp.norms.base import Norm


@dataclass(frozen=True, kw_only=True)
class CenterConfig(NormConfig):
    scale: float = number(above=0)


def problem(config, site, batch_size):
    if batch_size == 1:
        return "a single sample has no mean over the batch", "Use a larger batch_size."
    return None


def build(config, site):
    from torch import nn

    class Center(nn.Module):
        def forward(self, x):  # (B, C, H, W), (B, F) or (B, D, T)
            return config.scale * (x - x.mean([0, *range(2, x.ndim)], keepdim=True))

    return Center()


ENTRY = Norm(
    name="center",
    title="centering",
    config=CenterConfig,
    axes=("B,H,W", "B"),
    problem=problem,
    build=build,
    cancels_bias=True,
    parameters=lambda config, site: 0,
)
