"""Parts of a layer that draw numbers in training, and let everything pass in evaluation: noise, and dropout that does not scale.

Both draw from torch's own generator, as dropout does, which checkpoints keep.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Noise(nn.Module):
    """A random scale and shift of each channel of each sample, from a distribution that is another one in every step.

    The noise behind batch norm of Santurkar et al. 2018, "How Does Batch Normalization Help Optimization?", section 2.2: what
    enters the next layer then has another mean and variance in each step, and for each sample. For each channel (or feature)
    mu ~ U(-n, n) and sigma ~ U(1, 1 + n/2), and with these, for each sample and channel, m ~ U(mu - n/5, mu + n/5) and
    s ~ N(sigma, n/5), of which n/5 is the standard deviation; y = s x + m. With n = 0.5 its n_mu is 0.5, n_sigma 1.25, r_mu and
    r_sigma 0.1. In float32 at least, as norms compute.
    """

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) or (B, F), and the same back."""
        if not self.training:
            return x
        n, spread = self.strength, self.strength / 5
        samples, channels = x.shape[:2]
        mu = n * (2 * torch.rand(channels, device=x.device) - 1)
        sigma = 1 + n / 2 * torch.rand(channels, device=x.device)
        m = mu + spread * (2 * torch.rand(samples, channels, device=x.device) - 1)
        s = sigma + spread * torch.randn(samples, channels, device=x.device)
        over_positions = (samples, channels, *[1] * (x.dim() - 2))
        return x * s.view(over_positions) + m.view(over_positions)

    def extra_repr(self) -> str:
        return f"strength={self.strength}"


class UnscaledDropout(nn.Dropout):
    """Dropout whose survivors keep their size in training, so that evaluation brings 1/(1-p) times as much on average.

    It drops the same values as torch's own would, which divides the others by 1-p.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept = F.dropout(torch.ones_like(x), self.p) > 0
        return x * kept
