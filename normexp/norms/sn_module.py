"""Switchable norm."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _NormBase

from normexp.norms.running import count_batch, update

STATISTICS = ("in", "ln", "bn")  # the order of the logits


class SwitchNorm(_NormBase):
    """Switchable norm for (B, C, H, W) (Luo et al. 2018, "Differentiable learning-to-normalize via switchable normalization"):
    instance, layer and batch norm, mixed by learned weights.

        y = (x - sum_k w_k mu_k) / sqrt(sum_k w'_k var_k + eps) gamma + beta,    k = in, ln, bn,

    with w = softmax(mean_logits) and w' = softmax(var_logits), which start equal, and the biased variances. The statistics of ln
    and bn follow from those of in.

    Evaluation uses running averages for bn's statistics, updated as those of batch norm. The paper instead averages over batches
    after training; its code offers both.

    Takes 2 to 3 times as long as torch's batch norm, up to 8 times on feature maps that exceed the cache (CPU, forward and
    backward pass): scale and shift differ by sample and channel, for which torch has no kernel.
    """

    def __init__(self, channels: int, *, eps: float, momentum: float, affine: bool) -> None:
        super().__init__(channels, eps=eps, momentum=momentum, affine=affine)
        self.mean_logits = nn.Parameter(torch.ones(len(STATISTICS)))
        self.var_logits = nn.Parameter(torch.ones(len(STATISTICS)))

    def shares(self) -> dict[str, Tensor]:
        """The weights of the three norms, scalars by name: sn_mean_in is that of in's mean."""
        weights = {"mean": self.mean_logits.detach().softmax(0), "var": self.var_logits.detach().softmax(0)}
        return {f"sn_{kind}_{name}": w[at] for kind, w in weights.items() for at, name in enumerate(STATISTICS)}

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W), or (B, D, T)."""
        if x.dim() == 3:
            return self.forward(x[..., None])[..., 0]
        centered, mean, var = _Center.apply(x)
        if self.training:
            batch_mean, batch_var = mean.mean(0, keepdim=True), _joint_variance(mean, var, 0)
            if self.track_running_stats:
                m = x.numel() // self.num_features
                count_batch(self)
                update(self.running_mean, batch_mean[0], self)
                update(self.running_var, batch_var[0] * (m / (m - 1)), self)
        else:
            assert self.running_mean is not None and self.running_var is not None
            batch_mean, batch_var = self.running_mean[None], self.running_var[None]
        means = mean, mean.mean(1, keepdim=True), batch_mean
        variances = var, _joint_variance(mean, var, 1), batch_var
        mixed_mean = sum(w * each for w, each in zip(self.mean_logits.softmax(0), means, strict=True))
        mixed_var = sum(w * each for w, each in zip(self.var_logits.softmax(0), variances, strict=True))
        scale = (mixed_var + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        shift = (mean - mixed_mean) * scale
        if self.bias is not None:
            shift = shift + self.bias
        return torch.addcmul(shift[:, :, None, None], centered, scale[:, :, None, None])


def _joint_variance(mean: Tensor, var: Tensor, axis: int) -> Tensor:
    """Biased variance over the union of equally large sets with these means and biased variances. E[x^2] - E[x]^2, as in the
    paper, would cancel digits."""
    return var.mean(axis, keepdim=True) + mean.var(axis, correction=0, keepdim=True)


class _Center(torch.autograd.Function):
    """x - mean, mean and biased variance over H, W of (B, C, H, W): (B, C, H, W), (B, C), (B, C)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean = x.mean((2, 3), keepdim=True)
        centered = x - mean
        ctx.save_for_backward(centered)
        return centered, mean[:, :, 0, 0], centered.square().mean((2, 3))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor, g_mean: Tensor, g_var: Tensor) -> Tensor:
        (centered,) = ctx.saved_tensors
        n = centered[0, 0].numel()
        constant = (g_mean / n - g.mean((2, 3)))[:, :, None, None]
        return torch.addcmul(g + constant, centered, (2 / n) * g_var[:, :, None, None])
