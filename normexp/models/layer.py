"""Modules of the networks: the layer, and the modules that connect layers."""

from collections import OrderedDict
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normexp.config import Config
from normexp.models.activations import find_activation
from normexp.models.base import LayerPlan, Part
from normexp.models.tokens import PatchLinear, Positions, TokenLinear
from normexp.norms import NORMS
from normexp.norms.bn_module import StepBatchNorm


class Layer(nn.Sequential):
    """The parts of a plan in order: any of `weight`, `position`, `norm`, `noise`, `activation` and `dropout`."""

    def __init__(self, plan: LayerPlan, config: Config) -> None:
        super().__init__(OrderedDict((part, _part(part, plan, config)) for part in plan.parts))
        self.plan = plan

    def forward(self, x: Tensor, computed: Tensor | None = None) -> Tensor:
        """computed: the output, if a recurrent layer has computed it step by step; hooks see it as this layer's."""
        return super().forward(x) if computed is None else computed


def _part(part: Part, plan: LayerPlan, config: Config) -> nn.Module:
    module: nn.Module
    match part:
        case "weight":
            module = _weight(plan)
        case "position":
            module = Positions(*plan.outputs, class_token=plan.class_token)
        case "norm":
            module = _norm(plan, config)
        case "activation":
            site = plan.site("activation")
            assert site is not None
            module = find_activation(plan.activation or config.activation).build(site)
        case "dropout":
            module = (nn.Dropout if config.dropout_scaled else UnscaledDropout)(config.dropout)
        case "noise":
            module = Noise(config.noise)
        case "softmax":
            module = nn.Softmax(dim=-1)
    return module


def _norm(plan: LayerPlan, config: Config) -> nn.Module:
    site = plan.site("norm")
    assert site is not None
    norm = NORMS[config.norm.name].build(config.norm, site)
    assert norm is not None
    gamma = getattr(norm, "weight", None)
    if config.norm.gamma != 1 and isinstance(gamma, nn.Parameter):
        nn.init.constant_(gamma, config.norm.gamma)
    for each in norm if isinstance(norm, StepBatchNorm) else [norm]:
        if config.amp is not None:
            object.__setattr__(each, "__class__", in_float32(cast(Any, type(each))))
    return norm


def _weight(plan: LayerPlan) -> nn.Module:
    channels = plan.inputs[0], plan.outputs[0]
    if len(plan.outputs) == 2 and plan.kernel is not None:
        return PatchLinear(*channels, side=plan.kernel, bias=plan.bias)
    if len(plan.outputs) == 2:
        return TokenLinear(*channels, bias=plan.bias)
    if plan.kernel is None:
        return nn.Linear(*channels, bias=plan.bias)
    if plan.kernel == 1 and plan.stride > 1:
        return StridedPointwise(*channels, step=plan.stride, bias=plan.bias)
    return nn.Conv2d(*channels, plan.kernel, plan.stride, padding=plan.kernel // 2, bias=plan.bias)


class StridedPointwise(nn.Conv2d):
    """A 1x1 convolution with a stride, computed as a 1x1 convolution of every `step`-th pixel, with the same result.

    torch's own writes past its buffers in the backward pass for channels_last tensors on CPU (seen with torch 2.13.0 and few
    channels: segmentation faults, "double free or corruption").
    """

    def __init__(self, inputs: int, outputs: int, *, step: int, bias: bool) -> None:
        super().__init__(inputs, outputs, kernel_size=1, bias=bias)
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, :, :: self.step, :: self.step])


@cache
def in_float32(kind: Any) -> type[nn.Module]:
    """A subclass of a norm that computes in float32 under autocast, and returns float32. `of` is the norm's own class.

    torch's norms accept 16 bits, but not all keep their statistics in 32: the error of an instance norm without gamma and beta
    was seven times the rounding error of its result (torch 2.13.0, CPU, bfloat16).
    """

    class InFloat32(kind):  # type: ignore[misc]
        of = kind

        def forward(self, *inputs: Tensor) -> Tensor:
            with torch.autocast(inputs[0].device.type, enabled=False):
                output: Tensor = super().forward(*(x.float() for x in inputs))
            return output

    InFloat32.__name__ = kind.__name__
    return InFloat32


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
        return x * (F.dropout(torch.ones_like(x), self.p) > 0) if self.training else x


class Residual(nn.Module):
    """out(conv2(conv1(x)) + shortcut(x)). Without `shortcut` or `out`, these are the identity.

    With `preact`, both branches start from preact(x).
    """

    def __init__(
        self,
        conv1: nn.Module,
        conv2: nn.Module,
        *,
        preact: nn.Module | None = None,
        shortcut: nn.Module | None = None,
        out: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.preact, self.conv1, self.conv2, self.shortcut, self.out = preact, conv1, conv2, shortcut, out

    def forward(self, x: Tensor) -> Tensor:
        if self.preact is not None:
            x = self.preact(x)
        y: Tensor = self.conv2(self.conv1(x)) + (x if self.shortcut is None else self.shortcut(x))
        return y if self.out is None else self.out(y)


class GlobalAveragePool(nn.Module):
    """(B, C, H, W) -> (B, C): mean over all positions."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def named_layers(model: nn.Module) -> dict[str, Layer]:
    """The layers of a network by name, in the order of their plans."""
    return {name: module for name, module in model.named_modules() if isinstance(module, Layer)}
