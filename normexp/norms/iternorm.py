"""Iterative whitening (Huang et al. 2019): decorrelates the channels of a group, with a mean and covariance over B, H, W."""

import math
from dataclasses import dataclass

from normexp.config import NormConfig, join_names, number
from normexp.norms.base import Module, Norm, Site


@dataclass(frozen=True, kw_only=True)
class IterNorm(NormConfig):
    momentum: float = number(above=0, maximum=1)
    group_size: int = number(minimum=1)
    iterations: int = number(minimum=1, maximum=20)
    exact: bool


def problem(config: IterNorm, site: Site, batch_size: int) -> tuple[str, str] | None:
    values, size = batch_size * site.positions, config.group_size
    low = [g for g in range(1, math.isqrt(site.channels) + 1) if site.channels % g == 0]
    works = [g for g in sorted({*low, *(site.channels // g for g in low)}) if g < values]
    if size in works:
        return None
    if site.channels % size:
        wrong = f"its {site.channels} channels are not divisible into groups of {size}"
    else:
        wrong = f"a covariance of {size} channels needs more than {size} values per channel, and a batch has {values}"
    if not works:  # a single value
        group_size = "" if site.channels % size == 0 else " and norm.group_size=1"
        return wrong, f"Use batch_size={size // site.positions + 1 if not group_size else 2} or more{group_size}."
    return wrong, f"norm.group_size can be {join_names(map(str, works))} here."


def build(config: IterNorm, site: Site) -> Module:
    from normexp.norms.iternorm_module import IterNorm

    return IterNorm(
        site.all_channels,
        group_size=config.group_size,
        iterations=config.iterations,
        exact=config.exact,
        eps=config.eps,
        momentum=site.momentum(config.momentum),
        affine=config.affine,
    )


ENTRY = Norm(
    name="iternorm",
    title="iterative whitening",
    config=IterNorm,
    axes=("B,H,W", "B"),
    problem=problem,
    build=build,
    gated=True,
    cancels_bias=True,
    uses_batch=True,
    groups=lambda config, channels: channels // config.group_size,
)
