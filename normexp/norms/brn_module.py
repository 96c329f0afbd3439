"""Batch renormalization."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from normexp.norms.running import count_batch, update


class BatchRenorm(_BatchNorm):
    """Batch renorm for (B, C, H, W) or (B, C) (Ioffe 2017, algorithm 1).

    In training, with sigma = sqrt(var + eps) of the running statistics before this batch, and sigma_B = sqrt(var_B + eps) of the
    batch:

        y = ((x - mu_B) / sigma_B * r + d) gamma + beta
        r = sigma_B / sigma, clipped to [1/r_max, r_max]
        d = (mu_B - mu) / sigma, clipped to [-d_max, d_max]

    No gradient flows through r and d. Where neither is clipped, y equals the output in evaluation, (x - mu) / sigma gamma + beta.
    The paper averages sigma_B, of the biased variance, rather than the variance; so does this module. `running_var` holds
    sigma^2 - eps, so that everything that reads batch norms can read it.

    The limits r_max and d_max are 1 and 0 up to a fraction ramp_start of the steps, which is batch norm, and then grow linearly
    up to the fractions r_ramp_end and d_ramp_end. Without a training loop, they stay at their first values.

    Takes 1.3 to 1.6 times as long as torch's batch norm (CPU, forward and backward pass): the output depends on the batch's
    statistics twice, so they are computed first.
    """

    affine_in_evaluation: ClassVar = True
    limits: Tensor  # r_max, d_max of this step: a tensor, so that a compiled network need not be compiled again

    def __init__(
        self,
        channels: int,
        *,
        r_max: float,
        d_max: float,
        ramp_start: float,
        r_ramp_end: float,
        d_ramp_end: float,
        eps: float,
        momentum: float,
        affine: bool,
    ) -> None:
        super().__init__(channels, eps=eps, momentum=momentum, affine=affine)
        self.r_max, self.d_max, self.ramp_start = r_max, d_max, ramp_start
        self.r_ramp_end, self.d_ramp_end = r_ramp_end, d_ramp_end
        self.register_buffer("limits", torch.zeros(2), persistent=False)
        self._set_limits(*self.limits_at(0.0))

    def limits_at(self, progress: float) -> tuple[float, float]:
        """r_max and d_max after this fraction of the steps."""
        r_ramp, d_ramp = (
            min(1.0, max(0.0, progress - self.ramp_start) / (end - self.ramp_start))
            if end > self.ramp_start
            else float(progress >= end)
            for end in (self.r_ramp_end, self.d_ramp_end)
        )
        return 1 + (self.r_max - 1) * r_ramp, self.d_max * d_ramp

    def start_step(self, step: int, total_steps: int) -> None:
        """Set the limits for a training step, 1 to total_steps."""
        limits = self.limits_at((step - 1) / total_steps)
        if limits != self._limits:
            self._set_limits(*limits)

    def _set_limits(self, r_max: float, d_max: float) -> None:
        self._limits = r_max, d_max
        self.limits[0].fill_(r_max)  # does not wait for the device, as copying a new tensor would
        self.limits[1].fill_(d_max)

    def corrections(self, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        """r and d, (C,) each, of a batch with this mean and biased variance."""
        assert self.running_mean is not None and self.running_var is not None
        r_max, d_max = self.limits
        sigma, sigma_b = (self.running_var + self.eps).sqrt(), (var + self.eps).sqrt()
        r = torch.minimum(torch.maximum(sigma_b / sigma, 1 / r_max), r_max)
        d = torch.minimum(torch.maximum((mean - self.running_mean) / sigma, -d_max), d_max)
        return r, d

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.track_running_stats:  # evaluation, with running or batch statistics
            return super().forward(x)
        with torch.no_grad():
            mean, var = _moments(x)
            r, d = self.corrections(mean, var)
            self._update(mean, var)
        scale, shift = (r, d) if self.weight is None else (self.weight * r, self.weight * d + self.bias)
        return F.batch_norm(x, None, None, scale, shift, training=True, eps=self.eps)

    def _update(self, mean: Tensor, var: Tensor) -> None:
        assert self.running_var is not None
        sigma = (self.running_var + self.eps).sqrt()
        count_batch(self)
        update(self.running_mean, mean, self)
        update(sigma, (var + self.eps).sqrt(), self)
        self.running_var.copy_(sigma.square() - self.eps)

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept vectors and images."""

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, r_max={self.r_max}, d_max={self.d_max}"


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel, (C,) each. torch.var_mean takes ten times as long on channels_last tensors."""
    axes = [0, *range(2, x.dim())]
    mean = x.mean(axes, keepdim=True)
    return mean.flatten(), (x - mean).square_().mean(axes)
