"""Norms that normalize with the batch's statistics in training and with running statistics in evaluation.

They follow the convention of torch's batch norm: in training mode, and with `track_running_stats=False`, a norm uses the
batch's statistics and leaves the running ones alone.
"""

from typing import Protocol, runtime_checkable

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase


@runtime_checkable
class StepAware(Protocol):
    """A module that depends on the step, and on nothing else that a checkpoint would have to hold."""

    def start_step(self, step: int, total_steps: int) -> None:
        """Called before each training step, 1 to total_steps."""


def running_norms(model: nn.Module) -> list[_NormBase]:
    """The norms of a network that have running statistics."""
    return [norm for norm in model.modules() if isinstance(norm, _NormBase) and norm.running_mean is not None]


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """Those of them whose running statistics are a mean and a variance per channel and replace all others: bn and brn."""
    return [norm for norm in running_norms(model) if isinstance(norm, _BatchNorm)]


def running_moments(norm: object) -> tuple[Tensor, Tensor] | None:
    """Running mean and variance, (C,) each; None for a norm without them."""
    if not isinstance(norm, _NormBase) or norm.running_mean is None:
        return None
    covariance = getattr(norm, "running_cov", None)  # of iternorm, (groups, channels, channels)
    variance = norm.running_var if covariance is None else covariance.diagonal(dim1=1, dim2=2).flatten()
    assert variance is not None
    return norm.running_mean, variance


def ghost_batches(norm: nn.Module, x: Tensor) -> list[Tensor]:
    """The parts of a batch (B, ...) that the norm normalizes separately: the whole batch, unless `norm.ghost_batch` is set."""
    size = getattr(norm, "ghost_batch", None)
    return list(x.split(size)) if size else [x]


def whole_ghost_batches(model: nn.Module, samples: int) -> int:
    """The largest batch size up to `samples` that the network's ghost batches divide; `samples` if one is larger."""
    size = max((getattr(norm, "ghost_batch", None) or 1 for norm in running_norms(model)), default=1)
    return samples if samples < size else samples - samples % size


def is_affine_in_evaluation(norm: nn.Module) -> bool:
    """Whether evaluation computes gamma (x - running_mean) / sqrt(running_var + eps) + beta. Excludes subclasses of torch's batch
    norms that don't say so, since they may compute something else."""
    kind = getattr(type(norm), "of", type(norm))  # of: the class without amp
    return kind in (nn.BatchNorm1d, nn.BatchNorm2d) or getattr(kind, "affine_in_evaluation", False)


def update(running: Tensor | None, newest: Tensor, norm: _NormBase) -> None:
    """In place: running average with the weight `momentum` for the newest value."""
    assert running is not None and norm.momentum is not None
    running.lerp_(newest.detach(), norm.momentum)


def count_batch(norm: _NormBase) -> None:
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
