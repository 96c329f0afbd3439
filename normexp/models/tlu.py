"""Thresholded linear unit (Singh and Krishnan 2019, eq. 4): max(x, tau), with a learned threshold tau per channel."""

import torch
from torch import Tensor, nn


class TLU(nn.Module):
    """x: (B, C, ...). tau starts at 0, where the outputs are those of ReLU. Where x = tau, each gets half of the gradient."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.tau = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(x, self.tau.view(-1, *[1] * (x.dim() - 2)).to(x.dtype))
