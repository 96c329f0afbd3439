"""Statistics of samples, returned with their input, so that the gradients of both meet in one pass over the data.

autograd alone takes two to three times as long (CPU): it computes the gradient of every elementwise step in a pass of its own,
and torch's variance of channels_last tensors is slow.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def mean_square(x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """x, and the mean of x^2 over these axes, which are kept with size 1."""
    output: tuple[Tensor, Tensor] = _MeanSquare.apply(x, axes)
    return output


def group_variance(x: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """x, (B, C, ...), and the biased variance of each sample and group of channels, for each of its channels: (B, C)."""
    output: tuple[Tensor, Tensor] = _GroupVariance.apply(x, groups)
    return output


def gate(x: Tensor, v: Tensor) -> Tensor:
    """x sigmoid(v x), for x (B, C, ...) and v (C,)."""
    output: Tensor = _Gate.apply(x, v)
    return output


def over_positions(values: Tensor, like: Tensor) -> Tensor:
    """Reshape (B, C) so that it broadcasts over (B, C, ...)."""
    return values.view(*values.shape, *[1] * (like.dim() - 2))


class _MeanSquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        square = x.square().mean(axes, keepdim=True)
        ctx.save_for_backward(x)
        ctx.values = x.numel() // square.numel()
        return x.view_as(x), square

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor, g_square: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return torch.addcmul(g, x, (2 / ctx.values) * g_square), None


class _GroupVariance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, groups: int) -> tuple[Tensor, Tensor]:
        mean = _group_mean(x, groups)
        centered = x - over_positions(mean, x)
        variance = _group_mean(centered.square_(), groups)
        ctx.save_for_backward(x, mean)
        ctx.groups = groups
        return x.view_as(x), variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor, g_var: Tensor) -> tuple[Tensor, None]:
        x, mean = ctx.saved_tensors
        values = x[0].numel() // ctx.groups
        factor = (2 / values) * _per_group(g_var.unflatten(1, (ctx.groups, -1)).sum(2), x)
        return torch.addcmul(g - over_positions(factor * mean, x), x, over_positions(factor, x)), None


def _group_mean(x: Tensor, groups: int) -> Tensor:
    """Mean of each sample and group, for each of its channels: (B, C)."""
    per_channel = x.mean(tuple(range(2, x.dim()))) if x.dim() > 2 else x
    return _per_group(per_channel.unflatten(1, (groups, -1)).mean(2), x)


def _per_group(values: Tensor, like: Tensor) -> Tensor:
    """(B, G) -> (B, C)."""
    return values.repeat_interleave(like.shape[1] // values.shape[1], 1)


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, v: Tensor) -> Tensor:
        sigmoid = torch.sigmoid(x * over_positions(v[None], x))
        ctx.save_for_backward(x, sigmoid, v)
        return x * sigmoid

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        """d/dx = s + v x s (1 - s) and d/dv = x^2 s (1 - s), with the sigmoid s."""
        x, sigmoid, v = ctx.saved_tensors
        rest = (1 - sigmoid).mul_(x)
        g = g * sigmoid
        g_v = (g * x * rest).sum((0, *range(2, x.dim())))
        return rest.mul_(over_positions(v[None], x)).add_(1).mul_(g), g_v
