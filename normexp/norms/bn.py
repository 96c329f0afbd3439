"""Batch norm (Ioffe and Szegedy 2015, algorithm 1): a mean and variance per channel, over B, H, W.

Training normalizes with the biased batch variance. The running variance averages the unbiased one, m/(m-1) times as large.
"""

from dataclasses import dataclass
from typing import Literal

from normexp.config import NormConfig, number
from normexp.norms.base import Module, Norm, Site


@dataclass(frozen=True, kw_only=True)
class BatchNorm(NormConfig):
    momentum: float = number(above=0, maximum=1)
    statistics: Literal["running", "recomputed"]
    estimator: Literal["paper", "moments"]
    recompute_samples: int = number(minimum=1)


def problem(config: BatchNorm, site: Site, batch_size: int) -> tuple[str, str] | None:
    if batch_size * site.positions > 1:
        return None
    return "with a batch size of 1, each channel has a single value and thus no variance", "Use batch_size=2 or more."


def build(config: BatchNorm, site: Site) -> Module:
    from torch import nn

    norm = nn.BatchNorm1d if len(site.shape) == 1 else nn.BatchNorm2d
    return norm(site.channels, eps=config.eps, momentum=config.momentum, affine=config.affine)


ENTRY = Norm(
    name="bn",
    title="batch norm",
    config=BatchNorm,
    axes=("B,H,W", "B"),
    problem=problem,
    build=build,
    cancels_bias=True,
    uses_batch=True,
)
