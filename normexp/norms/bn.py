"""Batch norm (Ioffe and Szegedy 2015, algorithm 1): a mean and variance per channel, over B, H, W.

Training normalizes with the biased batch variance. The running variance averages the unbiased one, m/(m-1) times as large. In
ghost batches, frozen from a step on, or with statistics for each time step: bn_module.py.
"""

from dataclasses import dataclass
from typing import Literal

from normexp.config import NormConfig, number
from normexp.norms.base import Module, Norm, Site


@dataclass(frozen=True, kw_only=True)
class RunningConfig(NormConfig):
    """Keys of norms that evaluate with a running mean and variance per channel."""

    momentum: float = number(above=0, maximum=1)
    statistics: Literal["running", "recomputed"]
    estimator: Literal["paper", "moments"]
    recompute_samples: int = number(minimum=1)


@dataclass(frozen=True, kw_only=True)
class BatchNorm(RunningConfig):
    ghost_batch: int | None = number(minimum=1, default=None)
    freeze_at: int | None = number(minimum=0, default=None)
    per_step: bool = False
    last_step: int | None = number(minimum=1, default=None)


def problem(config: BatchNorm, site: Site, batch_size: int) -> tuple[str, str] | None:
    ghost = config.ghost_batch
    if ghost is not None and site.repeats > 1:
        return "ghost batches would be of heads or time steps instead of samples", "Use norm.ghost_batch=null."
    if config.per_step and (ghost is not None or config.freeze_at is not None):
        return "norm.per_step=true has neither ghost batches nor a step from which it is frozen", (
            "Set norm.ghost_batch and norm.freeze_at to null."
        )
    if config.freeze_at is not None and config.statistics == "recomputed":
        return (
            "once frozen, it is trained with the running statistics, and recomputed ones would evaluate another network",
            ("Use norm.statistics=running, or norm.freeze_at=null."),
        )
    if ghost is not None and batch_size % ghost:
        return f"a batch of {batch_size} samples can't be divided into ghost batches of {ghost}", (
            "norm.ghost_batch must divide it."
        )
    if ghost is not None and ghost * site.positions == 1:
        return "with ghost batches of 1, each channel has a single value and thus no variance", (
            "Use norm.ghost_batch=2 or more."
        )
    return single_value(config, site, batch_size)


def single_value(config: NormConfig, site: Site, batch_size: int) -> tuple[str, str] | None:
    """The problem of a batch with one value per channel."""
    if batch_size * site.repeats * site.positions > 1:
        return None
    return "with a batch size of 1, each channel has a single value and thus no variance", "Use batch_size=2 or more."


def build(config: BatchNorm, site: Site) -> Module:
    from torch import nn

    if config.ghost_batch is not None or config.freeze_at is not None:
        from normexp.norms.bn_module import GhostBatchNorm

        return GhostBatchNorm(
            site.all_channels,
            ghost_batch=config.ghost_batch,
            freeze_at=config.freeze_at,
            eps=config.eps,
            momentum=site.momentum(config.momentum),
            affine=config.affine,
        )
    if config.per_step and site.steps > 1:
        from normexp.norms.bn_module import StepBatchNorm

        steps = min(config.last_step or site.steps, site.steps)
        momenta = [config.momentum] * (steps - 1) + [site.momentum(config.momentum, site.steps - steps + 1)]
        return StepBatchNorm(site.all_channels, momenta, eps=config.eps, affine=config.affine)
    if len(site.shape) == 2:
        from normexp.norms.bn_module import TokenBatchNorm

        return TokenBatchNorm(site.channels, eps=config.eps, momentum=config.momentum, affine=config.affine)
    norm = nn.BatchNorm1d if len(site.shape) == 1 else nn.BatchNorm2d
    return norm(site.all_channels, eps=config.eps, momentum=site.momentum(config.momentum), affine=config.affine)


ENTRY = Norm(
    name="bn",
    title="batch norm",
    config=BatchNorm,
    axes=("B,H,W", "B"),
    problem=problem,
    build=build,
    cancels_bias=True,
    uses_batch=True,
    gated=True,
    samples=lambda config, batch_size: config.ghost_batch or batch_size,
)
