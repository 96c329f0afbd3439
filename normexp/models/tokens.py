"""Modules for tokens, (B, D, T): T tokens of D channels.

Channels come first, as in images, so that norms and probes need no cases of their own. In memory they are last, as in images in
torch's channels_last format: linear layers and attention read (B, T, D) without a copy.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normexp.models.observed import has_hooks


class TokenLinear(nn.Linear):
    """A linear layer for each token: (B, D, T) -> (B, D', T)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mT).mT


class PatchLinear(nn.Linear):
    """A linear layer for each patch of an image: (B, C, H, W) -> (B, D, T), with the patches row by row."""

    def __init__(self, inputs: int, outputs: int, *, side: int, bias: bool) -> None:
        super().__init__(inputs * side**2, outputs, bias=bias)
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        patches = x.unflatten(3, (-1, self.side)).unflatten(2, (-1, self.side))  # (B, C, H', side, W', side)
        return super().forward(patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)).mT


class Positions(nn.Module):
    """Add a learned vector to each token, and put a learned class token in front if there is one."""

    def __init__(self, channels: int, tokens: int, *, class_token: bool) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(tokens, channels))
        self.class_token = nn.Parameter(torch.zeros(channels)) if class_token else None

    def forward(self, x: Tensor) -> Tensor:
        x = x.mT
        if self.class_token is not None:
            x = torch.cat([self.class_token.to(x.dtype).expand(x.shape[0], 1, -1), x], dim=1)
        return (x + self.positions).mT


class Branch(nn.Module, ABC):
    """A residual branch with its addition: norm_sum(x + norm_out(body(norm(x)))). Norms that `layers` lacks are left out."""

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        y = x + self._optional("norm_out", self.body(self._optional("norm", x)))
        return self._optional("norm_sum", y)

    @abstractmethod
    def body(self, x: Tensor) -> Tensor:
        """The branch without its norms and addition: (B, D, T) -> (B, D, T)."""

    def _optional(self, name: str, x: Tensor) -> Tensor:
        y: Tensor = getattr(self, name)(x) if hasattr(self, name) else x
        return y


class Attention(Branch):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2). q_norm and k_norm see each head as a sample of its own.

    `weights` is called if it has hooks: with the scores (B heads, queries, keys), and without gradients.
    """

    out: nn.Module
    weights: nn.Module

    def __init__(self, layers: Mapping[str, nn.Module], heads: int) -> None:
        super().__init__(layers)
        self.heads = heads

    def body(self, x: Tensor) -> Tensor:
        q, k, v = (self._split(getattr(self, name)(x)) for name in "qkv")
        q, k = self._per_head("q_norm", q), self._per_head("k_norm", k)
        if has_hooks(self.weights):
            with torch.no_grad():
                self.weights((q @ k.mT * q.shape[-1] ** -0.5).flatten(0, 1))
        y: Tensor = self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2).mT)
        return y

    def _split(self, x: Tensor) -> Tensor:
        """(B, D, T) -> (B, heads, T, D / heads)."""
        y: Tensor = x.mT.unflatten(2, (self.heads, -1)).transpose(1, 2)
        return y

    def _per_head(self, name: str, x: Tensor) -> Tensor:
        if not hasattr(self, name):
            return x
        y: Tensor = self._optional(name, x.flatten(0, 1).mT).mT.unflatten(0, (-1, self.heads))
        return y


class MLP(Branch):
    """fc2(fc1(x)), for each token."""

    fc1: nn.Module
    fc2: nn.Module

    def body(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(self.fc1(x))
        return y


class Pool(nn.Module):
    """(B, D, T) -> (B, D): the mean over the tokens, or the class token."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, 0] if self.kind == "cls" else x.mean(2)
