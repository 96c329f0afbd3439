"""Distance between batch statistics and running statistics, which replace them in evaluation."""

from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from normexp.probes.base import Measurements, Probe, Recorder, chunks


class BatchStatistics(Probe):
    """For each batch norm, with the running statistics from before this batch:

    batch_mean_distance/LAYER: |batch mean - running mean| / sqrt(running variance + eps), averaged over channels.
    batch_var_ratio/LAYER: (batch variance + eps) / (running variance + eps), geometric mean over channels. The batch variance
    is the unbiased one, as in the running average.

    If these are far from 0 and 1, the network computes something else in evaluation than in training.
    """

    meanings: ClassVar = {
        "batch_mean_distance/LAYER": "distance between batch mean and running mean, in running standard deviations",
        "batch_var_ratio/LAYER": "batch variance / running variance",
    }
    titles: ClassVar = {tag.partition("/")[0]: meaning for tag, meaning in meanings.items()}

    def before_forward(self, recorder: Recorder) -> None:
        for name, layer in self.layers.items():
            if isinstance(layer.norm, _BatchNorm) and layer.norm.running_mean is not None:
                recorder.add_hook(layer.norm.register_forward_pre_hook(partial(_record_statistics, recorder, name)))

    def report(self, recorder: Recorder) -> Measurements:
        scalars: dict[str, float | None] = {}
        for name, layer in self.layers.items():
            statistics = recorder.arrays.get(f"_batch_statistics/{name}")
            if statistics is not None:
                mean, var, running_mean, running_var = statistics.astype(np.float64).swapaxes(0, 1)
                eps = float(layer.norm.eps)  # type: ignore[union-attr, arg-type]
                distance = np.abs(mean - running_mean) / np.sqrt(running_var + eps)
                scalars[f"batch_mean_distance/{name}"] = float(distance.mean())
                ratio = np.log((var + eps) / (running_var + eps))
                scalars[f"batch_var_ratio/{name}"] = float(np.exp(ratio.mean()))
        return Measurements(scalars)


def _record_statistics(recorder: Recorder, name: str, norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Forward pre-hook: record mean and variance of the batch, then the running ones: (1, 4, C)."""
    assert isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.running_var is not None
    statistics = torch.stack([*batch_moments(inputs[0].detach()), norm.running_mean, norm.running_var])
    recorder.record_array(f"_batch_statistics/{name}", statistics[None])


def batch_moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased variance of each channel of (B, C, ...): (C,) each. Computed in chunks to save memory. torch.var_mean
    takes ten times as long on channels_last tensors."""
    axes = [0, *range(2, values.dim())]
    mean = values.mean(axes, keepdim=True)
    squares = sum((chunk - mean).square_().sum(axes) for chunk in chunks(values))
    assert isinstance(squares, Tensor)
    return mean.flatten(), squares / (values.numel() / values.shape[1] - 1)


ENTRY = BatchStatistics
