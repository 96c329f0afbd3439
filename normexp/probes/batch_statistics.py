"""How far a batch's statistics are from the running ones, which take their place in evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from normexp.probes.base import Findings, Probe, pieces
from normexp.probes.recorder import Look


class BatchStatistics(Probe):
    """Of each batch norm, from the running statistics as they were before the batch:

    batch_mean_distance/LAYER: |batch mean - running mean| / sqrt(running variance + eps), its mean over the channels.
    batch_var_ratio/LAYER: (batch variance + eps) / (running variance + eps), its geometric mean over the channels, of the
    unbiased batch variance, which the running one is an average of.

    A network that is far from 0 and 1 here is another one in evaluation than in training.
    """

    titles: ClassVar = {
        "batch_mean_distance": "batch mean to running mean, in running standard deviations",
        "batch_var_ratio": "batch variance over running variance",
    }

    def before(self, look: Look) -> None:
        for name, layer in self.layers.items():
            if isinstance(layer.norm, _BatchNorm) and layer.norm.running_mean is not None:
                look.hook(layer.norm.register_forward_pre_hook(_hook(look, name)))

    def report(self, look: Look) -> Findings:
        scalars: dict[str, float | None] = {}
        for name, layer in self.layers.items():
            found = look.arrays.get(f"_batch_statistics/{name}")
            if found is not None:
                mean, var, running_mean, running_var = found.astype(np.float64).swapaxes(0, 1)
                eps = float(layer.norm.eps)  # type: ignore[union-attr, arg-type]
                distance = np.abs(mean - running_mean) / np.sqrt(running_var + eps)
                scalars[f"batch_mean_distance/{name}"] = float(distance.mean())
                ratio = np.log((var + eps) / (running_var + eps))
                scalars[f"batch_var_ratio/{name}"] = float(np.exp(ratio.mean()))
        return Findings(scalars)


def _hook(look: Look, name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def hook(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, _BatchNorm)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        look.keep_array(
            f"_batch_statistics/{name}",
            torch.stack([*batch_moments(inputs[0].detach()), norm.running_mean, norm.running_var])[None],
        )

    return hook


def batch_moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased variance of each channel of (B, C, ...).

    In pieces, which take no memory to speak of; torch's var_mean takes ten times as long where the channels are last in memory.
    """
    axes = [0, *range(2, values.dim())]
    mean = values.mean(axes, keepdim=True)
    squares = sum((piece - mean).square_().sum(axes) for piece in pieces(values))
    assert isinstance(squares, Tensor)
    return mean.flatten(), squares / (values.numel() / values.shape[1] - 1)


ENTRY = BatchStatistics
