"""Batch norm of tokens; in ghost batches, or frozen from a step on; and with statistics for each time step."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from normexp.norms.running import count_batch, update


class TokenBatchNorm(nn.BatchNorm1d):
    """Batch norm for (B, D, T) with the channels last in memory, which torch's images have a kernel for: twice as fast as the
    one for vectors, and it returns the same memory format."""

    affine_in_evaluation: ClassVar = True

    def forward(self, x: Tensor) -> Tensor:
        # Not x[..., None]: for its strides, torch's gradients are wrong (2.13.0, CPU).
        return super().forward(x[:, :, None])[:, :, 0]

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept tokens as images of 1 x T pixels."""


class StepBatchNorm(nn.ModuleList):
    """A batch norm for each time step of a recurrent layer, with a common gamma and beta: Cooijmans et al. 2017, section 3.

    Module t normalizes (B, C) at step t; the last one also at later steps. Each is an ordinary batch norm with running statistics
    of its own. momenta: of each. gamma and beta are `weight` and `bias` of the list, which the modules refer to.
    """

    def __init__(self, channels: int, momenta: Sequence[float], *, eps: float, affine: bool) -> None:
        super().__init__(nn.BatchNorm1d(channels, eps=eps, momentum=momentum, affine=False) for momentum in momenta)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def at(self, step: int) -> nn.Module:
        """The norm of a time step, from 0."""
        norm = self[min(step, len(self) - 1)]
        for name in ("weight", "bias"):  # as plain attributes, since each would count as a parameter of its own
            object.__setattr__(norm, name, getattr(self, name))
        return norm


class GhostBatchNorm(_BatchNorm):
    """Batch norm for (B, C, H, W) or (B, C), with two options.

    ghost_batch=N: in training, each chunk of N samples is normalized with its own mean and variance (Hoffer et al. 2017, "Train
    longer, generalize better", algorithm 1). The running statistics are updated once per forward pass, with the means over the
    chunks of their means and unbiased variances; the paper updates them chunk by chunk, so that later chunks count more. A batch
    of at most N samples is a single chunk. Takes 1.2 to 1.7 times as long as torch's batch norm, up to 3 times on feature maps
    that exceed the cache (CPU, forward and backward pass): torch's kernel has one set of statistics for a batch.

    freeze_at=STEP: from this training step on, training uses the running statistics as evaluation does, and no longer updates
    them; gamma and beta still train. A bias before the norm is left out as before any batch norm: beta does the same.
    """

    affine_in_evaluation: ClassVar = True

    def __init__(
        self,
        channels: int,
        *,
        ghost_batch: int | None,
        freeze_at: int | None,
        eps: float,
        momentum: float,
        affine: bool,
    ) -> None:
        super().__init__(channels, eps=eps, momentum=momentum, affine=affine)
        self.ghost_batch, self.freeze_at = ghost_batch, freeze_at
        self.start_step(1, 1)

    def start_step(self, step: int, total_steps: int) -> None:
        """Freeze if the step is reached. `train()` changes nothing about it."""
        self.frozen = self.freeze_at is not None and step >= self.freeze_at

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.track_running_stats and self.frozen:
            running = self.running_mean, self.running_var
            return F.batch_norm(x, *running, self.weight, self.bias, training=False, eps=self.eps)
        if not self.training or self.ghost_batch is None or len(x) <= self.ghost_batch:
            return super().forward(x)
        if len(x) % self.ghost_batch:
            raise ValueError(f"a batch of {len(x)} samples can't be divided into ghost batches of {self.ghost_batch}")
        chunks = x.unflatten(0, (-1, self.ghost_batch))
        y: Tensor
        y, mean, var = _NormalizeChunks.apply(chunks, self.weight, self.bias, self.eps)
        if self.track_running_stats:
            m = chunks[0].numel() // self.num_features
            count_batch(self)
            update(self.running_mean, mean.mean(0), self)
            update(self.running_var, var.mean(0) * (m / (m - 1)), self)
        return y.flatten(0, 1)

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept vectors and images."""

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, ghost_batch={self.ghost_batch}, freeze_at={self.freeze_at}"


class _NormalizeChunks(torch.autograd.Function):
    """Batch norm of each of K chunks, (K, N, C, ...). Returns the output, and the chunks' means and biased variances, (K, C)
    each, without gradients. gamma and beta, (C,), may be None. autograd would need twice as many passes over the data."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor | None, beta: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        axes = [1, *range(3, x.dim())]
        mean = x.mean(axes, keepdim=True)
        normalized = x - mean
        var = normalized.square().mean(axes, keepdim=True)
        inverse = (var + eps).rsqrt()
        normalized.mul_(inverse)
        per_channel = (-1, *[1] * (x.dim() - 3))
        ctx.save_for_backward(normalized, inverse if gamma is None else inverse * gamma.view(per_channel))
        ctx.axes, ctx.affine = axes, gamma is not None
        moments = mean.flatten(1), var.flatten(1)
        ctx.mark_non_differentiable(*moments)
        if gamma is None or beta is None:
            return normalized.clone(), *moments
        return torch.addcmul(beta.view(per_channel), normalized, gamma.view(per_channel)), *moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Ioffe and Szegedy 2015, section 3: g_x = gamma / sigma (g - mean(g) - x_hat mean(g x_hat)), means over a chunk."""
        normalized, scale = ctx.saved_tensors
        g_sum, gx_sum = g.sum(ctx.axes, keepdim=True), (g * normalized).sum(ctx.axes, keepdim=True)
        values = normalized[0].numel() // normalized.shape[2]
        g_x = torch.addcmul(-scale * g_sum / values, g, scale).addcmul_(normalized, -scale * gx_sum / values)
        return g_x, *((gx_sum.sum(0).flatten(), g_sum.sum(0).flatten()) if ctx.affine else (None, None)), None
