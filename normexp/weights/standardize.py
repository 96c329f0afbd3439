"""Standardization of weights, as a parametrization."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Standardize(nn.Module):
    """(W - mean) / sqrt(var + eps), with the mean and the biased variance of each filter W[i]."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, weight: Tensor) -> Tensor:
        """weight: (filters, ...)."""
        # Layer norm with filters as samples: the same formula in one kernel, up to ten times as fast as var_mean.
        if not _is_channels_last(weight):
            return F.layer_norm(weight, weight.shape[1:], eps=self.eps)
        weight = weight.movedim(1, -1)
        return F.layer_norm(weight, weight.shape[1:], eps=self.eps).movedim(-1, 1)

    def extra_repr(self) -> str:
        return f"eps={self.eps}"


class ScaledStandardize(Standardize):
    """gain * gamma * (W - mean) / sqrt(fan_in * (var + eps)), with a learned gain per filter, which starts at 1."""

    def __init__(self, filters: int, gamma: float, eps: float) -> None:
        super().__init__(eps)
        self.gamma = gamma
        self.gain = nn.Parameter(torch.ones(filters))

    def forward(self, weight: Tensor) -> Tensor:
        fan_in = weight[0].numel()
        scale: Tensor = self.gain.view(-1, *[1] * (weight.dim() - 1)) * (self.gamma * fan_in**-0.5)
        return super().forward(weight) * scale

    def extra_repr(self) -> str:
        return f"gamma={self.gamma:.4g}, eps={self.eps}"


def _is_channels_last(weight: Tensor) -> bool:
    """Whether the strides are those of channels_last. Tensor.is_contiguous doesn't tell for a single input channel or 1x1."""
    if weight.dim() != 4:
        return False
    _, channels, _, width = weight.shape
    return weight.stride()[1:] == (1, width * channels, channels)
