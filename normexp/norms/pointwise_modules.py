"""Modules of norms that torch does not have and that need no running statistics. All take (B, C, ...)."""

import torch
from torch import Tensor, nn

from normexp.norms.moments import gate, group_variance, mean_square, over_positions


class ScaleShift(nn.Module):
    """Base: y gamma + beta per channel, as `weight` and `bias`, if affine."""

    def __init__(self, channels: int, *, affine: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def scale_shift(self, y: Tensor, factor: Tensor | None = None) -> Tensor:
        """y gamma + beta, or y factor gamma + beta with a factor that is the same at all positions: (B, C, 1, ...)."""
        if self.weight is None or self.bias is None:
            return y if factor is None else y * factor
        gamma = per_channel(self.weight, y)
        return torch.addcmul(per_channel(self.bias, y), y, gamma if factor is None else gamma * factor)


def per_channel(values: Tensor, like: Tensor) -> Tensor:
    """Reshape (C,) so that it broadcasts over (B, C, ...)."""
    return values.view(-1, *[1] * (like.dim() - 2))


class DynamicTanh(ScaleShift):
    """tanh(alpha x) gamma + beta, with a learned scalar alpha (Zhu et al. 2025, eq. 1).

    Takes about 4 times as long as torch's batch norm (CPU, forward and backward pass): tanh alone takes more than twice as long.
    """

    def __init__(self, channels: int, *, alpha: float, affine: bool) -> None:
        super().__init__(channels, affine=affine)
        self.alpha = nn.Parameter(torch.tensor(alpha))

    def squash(self, x: Tensor) -> Tensor:
        return torch.tanh(self.alpha * x)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale_shift(self.squash(x))


class DynamicErf(ScaleShift):
    """erf(alpha x + s) gamma + beta, with learned scalars alpha and s (`shift`), which starts at 0 (Chen et al. 2025).

    Takes about 5 times as long as torch's batch norm (CPU, forward and backward pass), more than DynamicTanh by the shift.
    """

    def __init__(self, channels: int, *, alpha: float, affine: bool) -> None:
        super().__init__(channels, affine=affine)
        self.alpha = nn.Parameter(torch.tensor(alpha))
        self.shift = nn.Parameter(torch.tensor(0.0))

    def squash(self, x: Tensor) -> Tensor:
        return torch.erf(self.alpha * x + self.shift)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale_shift(self.squash(x))


class FilterResponseNorm(ScaleShift):
    """x / sqrt(nu^2 + eps) gamma + beta, with nu^2 the mean of x^2 over H, W.

    learned_eps: for one value per channel, where x / sqrt(x^2 + eps) is a smooth sign of x, and eps sets how smooth: eps grows by
    |`epsilon`|, a learned scalar that starts at 1e-4 (section 3.1).

    Takes 1.2 to 2.5 times as long as torch's batch norm (CPU, forward and backward pass), whose kernel reads the data less often.
    """

    INITIAL_EPSILON = 1e-4

    def __init__(self, channels: int, *, eps: float, affine: bool, learned_eps: bool) -> None:
        super().__init__(channels, affine=affine)
        self.eps = eps
        self.epsilon = nn.Parameter(torch.tensor(self.INITIAL_EPSILON)) if learned_eps else None

    def forward(self, x: Tensor) -> Tensor:
        eps = self.eps if self.epsilon is None else self.eps + self.epsilon.abs()
        x, nu2 = mean_square(x, tuple(range(2, x.dim()))) if x.dim() > 2 else (x, x.square())
        return self.scale_shift(x, (nu2 + eps).rsqrt())


class EvoNorm(ScaleShift):
    """x sigmoid(v x) / sqrt(var + eps) gamma + beta, with the biased variance of each sample and group of channels (Liu et al.
    2020, EvoNorm-S0). v is learned per channel and starts at 1.

    gated: whether to multiply by the sigmoid. Without it, this is group norm that doesn't subtract the mean.

    Takes about 4 times as long as torch's batch norm (CPU, forward and backward pass), and 2.3 times as long as batch norm and
    SiLU: it needs a dozen passes over the data, where these have one kernel each.
    """

    def __init__(self, channels: int, groups: int, *, eps: float, affine: bool, gated: bool = True) -> None:
        super().__init__(channels, affine=affine)
        self.groups, self.eps = groups, eps
        self.v = nn.Parameter(torch.ones(channels)) if gated else None

    def forward(self, x: Tensor) -> Tensor:
        x, var = group_variance(x, self.groups)
        y = x if self.v is None else gate(x, self.v)
        return self.scale_shift(y, over_positions((var + self.eps).rsqrt(), x))
