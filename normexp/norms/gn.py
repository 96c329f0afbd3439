"""Group norm (Wu and He 2018, eq. 7): a mean and variance per sample and group of channels, over C/G, H, W."""

import math
from dataclasses import dataclass
from typing import Literal

from normexp.config import NormConfig, join_names, number
from normexp.norms.base import Module, Norm, Site

MOST_AUTO_GROUPS = 32
"""Groups of norm.groups=auto: Wu and He's default."""


@dataclass(frozen=True, kw_only=True)
class GroupNorm(NormConfig):
    groups: Literal["auto"] | int = number(minimum=1)
    group_size: int | None = number(minimum=1, default=None)


def num_groups(config: GroupNorm, channels: int) -> int:
    """The number of groups. `auto`: the largest divisor of the channels up to 32. Not an integer of groups: 0."""
    if config.group_size is not None:
        return channels // config.group_size if channels % config.group_size == 0 else 0
    if config.groups == "auto":
        return max(g for g in range(1, MOST_AUTO_GROUPS + 1) if channels % g == 0)
    return config.groups if channels % config.groups == 0 else 0


def problem(config: GroupNorm, site: Site, batch_size: int) -> tuple[str, str] | None:
    low = [g for g in range(1, math.isqrt(site.channels) + 1) if site.channels % g == 0]
    divisors = sorted({*low, *(site.channels // g for g in low)})
    works = [g for g in divisors if site.channels // g * site.positions > 1]
    groups = num_groups(config, site.channels)
    if groups in works:
        return None
    if groups:
        wrong = "each group has a single value per sample and thus no variance"
    elif config.group_size is not None:
        wrong = f"its {site.channels} channels are not divisible into groups of {config.group_size}"
    else:
        wrong = f"its {site.channels} channels are not divisible by {config.groups} groups"
    if not works:
        return wrong, "Use a wider layer."
    if config.group_size is not None:
        return wrong, f"norm.group_size can be {join_names(str(site.channels // g) for g in reversed(works))} here."
    return wrong, f"norm.groups can be {join_names(map(str, works))} here."


def build(config: GroupNorm, site: Site) -> Module:
    from torch import nn

    groups = num_groups(config, site.channels) * site.gates
    return nn.GroupNorm(groups, site.all_channels, eps=config.eps, affine=config.affine)


ENTRY = Norm(
    name="gn",
    title="group norm",
    config=GroupNorm,
    axes=("C/G,H,W", "F/G"),
    problem=problem,
    build=build,
    groups=num_groups,
    gated=True,
)
