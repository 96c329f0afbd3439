"""Random parts of a layer, which are the identity in evaluation: noise, and dropout without scaling.

Like nn.Dropout, both use torch's global generator, which checkpoints save.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Noise(nn.Module):
    """Random scale and shift of each channel of each sample, from distributions that change at every step.

    The noise after batch norm of Santurkar et al. 2018, "How Does Batch Normalization Help Optimization?", section 2.2, which
    gives the next layer's inputs another mean and variance at each step and for each sample. Per channel (or feature), draw
    mu ~ U(-n, n) and sigma ~ U(1, 1 + n/2); per sample and channel, m ~ U(mu - n/5, mu + n/5) and s ~ N(sigma, std n/5). Then
    y = s x + m. n = 0.5 corresponds to the paper's n_mu = 0.5, n_sigma = 1.25, r_mu = r_sigma = 0.1. Computed in float32 or
    wider, as norms are.
    """

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W) or (B, F)."""
        if not self.training:
            return x
        n, spread = self.strength, self.strength / 5
        samples, channels = x.shape[:2]
        mu = n * (2 * torch.rand(channels, device=x.device) - 1)
        sigma = 1 + n / 2 * torch.rand(channels, device=x.device)
        m = mu + spread * (2 * torch.rand(samples, channels, device=x.device) - 1)
        s = sigma + spread * torch.randn(samples, channels, device=x.device)
        per_channel = (samples, channels, *[1] * (x.dim() - 2))
        return x * s.view(per_channel) + m.view(per_channel)

    def extra_repr(self) -> str:
        return f"strength={self.strength}"


class UnscaledDropout(nn.Dropout):
    """Dropout that does not divide the remaining values by 1-p, so that outputs are 1/(1-p) times as large in evaluation.

    Drops the same values as nn.Dropout.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept = F.dropout(torch.ones_like(x), self.p) > 0
        return x * kept
