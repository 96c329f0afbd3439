"""Group norm (Wu and He 2018, eq. 7): a mean and variance per sample and group of channels, over C/G, H, W."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from normexp.config import NormConfig, join_names, number
from normexp.norms.base import Norm, Site

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class GroupNorm(NormConfig):
    groups: int = number(minimum=1)


def values(config: GroupNorm, site: Site, batch_size: int) -> int:
    return site.channels // config.groups * site.positions


def problem(config: GroupNorm, site: Site, batch_size: int) -> tuple[str, str] | None:
    divides = site.channels % config.groups == 0
    if divides and values(config, site, batch_size) > 1:
        return None
    if not divides:
        wrong = f"{config.groups} groups do not divide its {site.channels} channels"
    else:
        wrong = "each group has a single value a sample there, and no variance"
    low = [g for g in range(1, math.isqrt(site.channels) + 1) if site.channels % g == 0]
    divisors = sorted({*low, *(site.channels // g for g in low)})
    works = [str(g) for g in divisors if site.channels // g * site.positions > 1]
    return wrong, f"norm.groups can be {join_names(works)} there." if works else "A wider layer works."


def build(config: GroupNorm, site: Site) -> nn.Module:
    from torch import nn

    return nn.GroupNorm(config.groups, site.channels, eps=config.eps, affine=config.affine)


ENTRY = Norm(
    name="gn",
    title="group norm",
    config=GroupNorm,
    axes=("C/G,H,W", "F/G"),
    values=values,
    problem=problem,
    build=build,
)
