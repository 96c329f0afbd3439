"""Group norm (Wu and He 2018, eq. 7): a mean and variance per sample and group of channels, over C/G, H, W."""

import math
from dataclasses import dataclass

from normexp.config import NormConfig, join_names, number
from normexp.norms.base import Module, Norm, Site


@dataclass(frozen=True, kw_only=True)
class GroupNorm(NormConfig):
    groups: int = number(minimum=1)


def problem(config: GroupNorm, site: Site, batch_size: int) -> tuple[str, str] | None:
    low = [g for g in range(1, math.isqrt(site.channels) + 1) if site.channels % g == 0]
    divisors = sorted({*low, *(site.channels // g for g in low)})
    works = [g for g in divisors if site.channels // g * site.positions > 1]
    if config.groups in works:
        return None
    if config.groups in divisors:
        wrong = "each group has a single value per sample and thus no variance"
    else:
        wrong = f"its {site.channels} channels are not divisible by {config.groups} groups"
    return wrong, f"norm.groups can be {join_names(map(str, works))} here." if works else "Use a wider layer."


def build(config: GroupNorm, site: Site) -> Module:
    from torch import nn

    return nn.GroupNorm(config.groups, site.channels, eps=config.eps, affine=config.affine)


ENTRY = Norm(name="gn", title="group norm", config=GroupNorm, axes=("C/G,H,W", "F/G"), problem=problem, build=build)
